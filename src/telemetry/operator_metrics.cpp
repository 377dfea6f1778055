#include <keyshepherd/core/build.hpp>
#include <keyshepherd/telemetry/operator_metrics.hpp>

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <sstream>
#include <utility>
#include <vector>

namespace keyshepherd::telemetry {

namespace {

// Counters with two labels: a family makes a map of labels and hashes it at each look-up, which costs more
// than a short search.
class Pairs {
public:
    Pairs(prometheus::Family<prometheus::Counter>& family, const char* first, const char* second)
        : family_(family), first_(first), second_(second) {}
    prometheus::Counter& at(std::string_view first, std::string_view second) {
        for (const Known& known : known_)
            if (known.first == first && known.second == second) return *known.counter;
        prometheus::Counter& made =
            family_.Add({{first_, std::string(first)}, {second_, std::string(second)}});
        known_.push_back({std::string(first), std::string(second), &made});
        return made;
    }

private:
    struct Known {
        std::string first;
        std::string second;
        prometheus::Counter* counter;
    };
    prometheus::Family<prometheus::Counter>& family_;
    const char* first_;
    const char* second_;
    std::vector<Known> known_;
};

}  // namespace

// Names of controller-runtime where it has one, so that its dashboards work.
struct OperatorMetrics::Series {
    prometheus::Registry registry;
    Pairs reconciled{prometheus::BuildCounter()
                         .Name("controller_runtime_reconcile_total")
                         .Help("Reconciliations, by kind and outcome.")
                         .Register(registry),
                     "controller", "result"};
    prometheus::Histogram& duration =
        prometheus::BuildHistogram()
            .Name("controller_runtime_reconcile_time_seconds")
            .Help("Duration of a reconciliation.")
            .Register(registry)
            .Add({}, prometheus::Histogram::BucketBoundaries{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                             0.25, 1, 5, 30});
    Pairs drift{prometheus::BuildCounter()
                    .Name("keyshepherd_drift_total")
                    .Help("Changes in Vault that no resource requested.")
                    .Register(registry),
                "kind", "repaired"};
    prometheus::Family<prometheus::Counter>& orphaned =
        prometheus::BuildCounter()
            .Name("keyshepherd_orphaned_total")
            .Help(
                "Objects abandoned in Vault because no login could remove them before the deletion timeout.")
            .Register(registry);
    prometheus::Gauge& left_in_vault =
        prometheus::BuildGauge()
            .Name("keyshepherd_left_in_vault")
            .Help("Objects of deleted resources that remain in Vault until a login may remove them.")
            .Register(registry)
            .Add({});
    Pairs requests{prometheus::BuildCounter()
                       .Name("keyshepherd_vault_requests_total")
                       .Help("Requests to Vault, by operation and response.")
                       .Register(registry),
                   "operation", "code"};
    prometheus::Family<prometheus::Counter>& logins = prometheus::BuildCounter()
                                                          .Name("keyshepherd_vault_logins_total")
                                                          .Help("Logins to Vault.")
                                                          .Register(registry);
    prometheus::Family<prometheus::Gauge>& clock_lead =
        prometheus::BuildGauge()
            .Name("keyshepherd_clock_skew_seconds")
            .Help(
                "Seconds by which the operator's clock is ahead of the server's clock; negative if it is "
                "behind. With several Vaults, the largest difference.")
            .Register(registry);
    prometheus::Gauge& leading = prometheus::BuildGauge()
                                     .Name("leader_election_master_status")
                                     .Help("1 if this process holds the Lease, else 0.")
                                     .Register(registry)
                                     .Add({{"name", "keyshepherd-operator"}});
    prometheus::Gauge& depth = prometheus::BuildGauge()
                                   .Name("workqueue_depth")
                                   .Help("Resources waiting for their next reconciliation.")
                                   .Register(registry)
                                   .Add({{"name", "resources"}});
    prometheus::Counter& watch_failures = prometheus::BuildCounter()
                                              .Name("keyshepherd_watch_failures_total")
                                              .Help("Failed list and watch requests to the API server.")
                                              .Register(registry)
                                              .Add({});
    prometheus::Family<prometheus::Gauge>& key_version = prometheus::BuildGauge()
                                                             .Name("keyshepherd_key_version")
                                                             .Help("Version of the provider's key in Vault.")
                                                             .Register(registry);
    prometheus::Family<prometheus::Gauge>& key_valid =
        prometheus::BuildGauge()
            .Name("keyshepherd_key_valid")
            .Help("1 if the provider accepts its key, 0 if it rejects the key; absent if unknown.")
            .Register(registry);
    std::map<std::pair<std::string, std::string>, prometheus::Gauge*> key_versions, key_validities;
    Pairs rotations{prometheus::BuildCounter()
                        .Name("keyshepherd_rotation_rollouts_total")
                        .Help("Workloads to restart for a new key, by outcome.")
                        .Register(registry),
                    "provider", "result"};
    Series() {
        prometheus::BuildGauge()
            .Name("keyshepherd_build_info")
            .Help("Always 1.")
            .Register(registry)
            .Add({{"version", std::string(version())}, {"commit", std::string(commit())}})
            .Set(1);
    }
};

OperatorMetrics::OperatorMetrics() : series_(std::make_unique<Series>()) {}
OperatorMetrics::~OperatorMetrics() = default;

void OperatorMetrics::reconciled(std::string_view kind, std::string_view result, double seconds) {
    series_->reconciled.at(kind, result).Increment();
    series_->duration.Observe(seconds);
}
void OperatorMetrics::drift(std::string_view kind, bool repaired) {
    series_->drift.at(kind, repaired ? "true" : "false").Increment();
}
void OperatorMetrics::left_in_vault(std::size_t objects) {
    series_->left_in_vault.Set(static_cast<double>(objects));
}

void OperatorMetrics::orphaned(std::string_view kind) {
    series_->orphaned.Add({{"kind", std::string(kind)}}).Increment();
}
void OperatorMetrics::vault_request(std::string_view operation, std::string_view code) {
    series_->requests.at(operation, code).Increment();
}
void OperatorMetrics::vault_login(bool succeeded) {
    series_->logins.Add({{"result", succeeded ? "success" : "error"}}).Increment();
}
void OperatorMetrics::clock_lead(std::string_view server, std::int64_t seconds) {
    series_->clock_lead.Add({{"server", std::string(server)}}).Set(static_cast<double>(seconds));
}

void OperatorMetrics::leading(bool leading) {
    series_->leading.Set(leading ? 1 : 0);
}
void OperatorMetrics::waiting(std::size_t keys) {
    series_->depth.Set(static_cast<double>(keys));
}
namespace {

using OfProviders = std::map<std::pair<std::string, std::string>, prometheus::Gauge*>;

void set(prometheus::Family<prometheus::Gauge>& family, OfProviders& known, std::string_view provider,
         std::string_view ns, double value) {
    prometheus::Gauge*& gauge = known[{std::string(provider), std::string(ns)}];
    if (gauge == nullptr)
        gauge = &family.Add({{"provider", std::string(provider)}, {"namespace", std::string(ns)}});
    gauge->Set(value);
}

void remove(prometheus::Family<prometheus::Gauge>& family, OfProviders& known, std::string_view provider,
            std::string_view ns) {
    const auto at = known.find({std::string(provider), std::string(ns)});
    if (at == known.end()) return;
    family.Remove(at->second);
    known.erase(at);
}

}  // namespace

void OperatorMetrics::key_version(std::string_view provider, std::string_view ns, std::int64_t version) {
    set(series_->key_version, series_->key_versions, provider, ns, static_cast<double>(version));
}
void OperatorMetrics::key_valid(std::string_view provider, std::string_view ns, bool valid) {
    set(series_->key_valid, series_->key_validities, provider, ns, valid ? 1 : 0);
}
void OperatorMetrics::key_validity_unknown(std::string_view provider, std::string_view ns) {
    remove(series_->key_valid, series_->key_validities, provider, ns);
}
void OperatorMetrics::forget_key(std::string_view provider, std::string_view ns) {
    remove(series_->key_version, series_->key_versions, provider, ns);
    key_validity_unknown(provider, ns);
}
void OperatorMetrics::rotation_rollout(std::string_view provider, std::string_view result) {
    series_->rotations.at(provider, result).Increment();
}
void OperatorMetrics::watch_failed() {
    series_->watch_failures.Increment();
}

std::string OperatorMetrics::text() const {
    std::ostringstream out;
    const prometheus::TextSerializer serializer;
    serializer.Serialize(out, series_->registry.Collect());
    return std::move(out).str();
}

}  // namespace keyshepherd::telemetry
