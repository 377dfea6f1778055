#include <keyshepherd/core/build.hpp>
#include <keyshepherd/core/skip_reason.hpp>
#include <keyshepherd/telemetry/metrics.hpp>

#include <fmt/format.h>
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <sstream>
#include <stdexcept>

namespace keyshepherd::telemetry {

namespace {

constexpr std::array table = {
    MetricDescription{Kind::counter, "keyshepherd_admission_requests_total", "outcome,reason,dry_run",
                      "Admission reviews, by outcome and reason."},
    MetricDescription{Kind::histogram, "keyshepherd_admission_duration_seconds", "",
                      "Time to process an admission review, without network time."},
    MetricDescription{Kind::counter, "keyshepherd_http_requests_total", "code",
                      "HTTP responses of the admission port, by status code."},
    MetricDescription{Kind::gauge, "keyshepherd_sessions", "", "Open connections of the admission port."},
    MetricDescription{Kind::counter, "keyshepherd_sessions_closed_total", "reason",
                      "Closed connections of the admission port, by reason."},
    MetricDescription{Kind::gauge, "keyshepherd_body_bytes_in_flight", "",
                      "Bytes of request bodies currently in memory."},
    MetricDescription{Kind::gauge, "keyshepherd_certificate_expiry_seconds", "",
                      "Expiry time of the serving certificate, in seconds since the Unix epoch."},
    MetricDescription{Kind::counter, "keyshepherd_certificate_reloads_total", "",
                      "Certificate reloads that succeeded."},
    MetricDescription{Kind::counter, "keyshepherd_certificate_reload_errors_total", "",
                      "Certificate reloads that failed; the previous certificate stays in use."},
    MetricDescription{Kind::counter, "keyshepherd_provider_reloads_total", "",
                      "Reloads of the providers file that succeeded."},
    MetricDescription{Kind::counter, "keyshepherd_provider_reload_errors_total", "",
                      "Reloads of the providers file that failed; the previous providers stay in use."},
    MetricDescription{Kind::gauge, "keyshepherd_providers", "",
                      "Valid AIProviders and ClusterAIProviders in the cluster."},
    MetricDescription{
        Kind::gauge, "keyshepherd_providers_faulty", "",
        "Invalid AIProviders and ClusterAIProviders; the webhook rejects workloads that select one."},
    MetricDescription{Kind::counter, "keyshepherd_watch_failures_total", "",
                      "Failed list and watch requests to the API server."},
    MetricDescription{Kind::gauge, "keyshepherd_watches_failing", "",
                      "Resource types whose watch is failing; the webhook serves their last known state."},
    MetricDescription{Kind::gauge, "keyshepherd_build_info", "version,commit", "Always 1."},
};

struct AdmissionLabels {
    std::string_view outcome;
    std::string_view reason;
};

constexpr std::array decided_labels = {
    AdmissionLabels{"injected", ""},  AdmissionLabels{"removed", ""},
    AdmissionLabels{"denied", ""},    AdmissionLabels{"denied", "namespace-unknown"},
    AdmissionLabels{"malformed", ""}, AdmissionLabels{"failed", ""},
};

// The last of each list takes what is not in it.
constexpr auto admission_labels = [] {
    std::array<AdmissionLabels, decided_labels.size() + skip_reasons.size() + 1> labels{};
    auto at = std::ranges::copy(decided_labels, labels.begin()).out;
    for (const SkipReason reason : skip_reasons) *at++ = {"untouched", keyshepherd::text(reason)};
    *at = {"other", "other"};
    return labels;
}();
constexpr std::array<int, 15> codes = {200, 400, 404, 405, 408, 411, 413, 414,
                                       415, 417, 431, 500, 501, 503, 0};
constexpr std::array<std::string_view, 9> close_reasons = {
    "peer", "closed", "idle", "timeout", "handshake", "evicted", "drained", "error", "other"};

const MetricDescription& description(std::string_view name) {
    for (const MetricDescription& each : table)
        if (each.name == name) return each;
    throw std::logic_error(fmt::format("metric {} is missing from the table", name));
}

template <class T>
prometheus::Family<T>& family(prometheus::Registry& registry, std::string_view name) {
    const MetricDescription& from = description(name);
    const std::string text(from.name);
    const std::string help(from.help);
    if constexpr (std::is_same_v<T, prometheus::Counter>)
        return prometheus::BuildCounter().Name(text).Help(help).Register(registry);
    else if constexpr (std::is_same_v<T, prometheus::Gauge>)
        return prometheus::BuildGauge().Name(text).Help(help).Register(registry);
    else
        return prometheus::BuildHistogram().Name(text).Help(help).Register(registry);
}

prometheus::Counter& counter(prometheus::Registry& registry, std::string_view name) {
    return family<prometheus::Counter>(registry, name).Add({});
}

prometheus::Gauge& gauge(prometheus::Registry& registry, std::string_view name) {
    return family<prometheus::Gauge>(registry, name).Add({});
}

template <class T, std::size_t n, class V>
std::size_t index_or_last(const std::array<T, n>& values, const V& value) {
    for (std::size_t i = 0; i + 1 < n; ++i)
        if (values[i] == value) return i;
    return n - 1;
}

}  // namespace

std::span<const MetricDescription> metric_table() {
    return table;
}

struct Metrics::Series {
    prometheus::Registry registry;
    std::array<std::array<prometheus::Counter*, 2>, admission_labels.size()> admissions{};
    std::array<prometheus::Counter*, codes.size()> requests{};
    std::array<prometheus::Counter*, close_reasons.size()> closed{};
    prometheus::Histogram& duration =
        family<prometheus::Histogram>(registry, "keyshepherd_admission_duration_seconds")
            .Add({}, prometheus::Histogram::BucketBoundaries{0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025,
                                                             0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0});
    prometheus::Gauge& sessions = gauge(registry, "keyshepherd_sessions");
    prometheus::Gauge& body_bytes = gauge(registry, "keyshepherd_body_bytes_in_flight");
    prometheus::Gauge& expiry = gauge(registry, "keyshepherd_certificate_expiry_seconds");
    prometheus::Counter& reloads = counter(registry, "keyshepherd_certificate_reloads_total");
    prometheus::Counter& reload_errors = counter(registry, "keyshepherd_certificate_reload_errors_total");
    prometheus::Counter& provider_reloads = counter(registry, "keyshepherd_provider_reloads_total");
    prometheus::Counter& provider_reload_errors =
        counter(registry, "keyshepherd_provider_reload_errors_total");
    prometheus::Gauge& providers = gauge(registry, "keyshepherd_providers");
    prometheus::Gauge& providers_faulty = gauge(registry, "keyshepherd_providers_faulty");
    prometheus::Counter& watch_failures = counter(registry, "keyshepherd_watch_failures_total");
    prometheus::Gauge& watches_failing = gauge(registry, "keyshepherd_watches_failing");

    Series() {
        auto& admission_family =
            family<prometheus::Counter>(registry, "keyshepherd_admission_requests_total");
        for (std::size_t i = 0; i < admission_labels.size(); ++i)
            for (const std::size_t dry : {0, 1})
                admissions[i][dry] =
                    &admission_family.Add({{"outcome", std::string(admission_labels[i].outcome)},
                                           {"reason", std::string(admission_labels[i].reason)},
                                           {"dry_run", dry == 1 ? "true" : "false"}});
        auto& request_family = family<prometheus::Counter>(registry, "keyshepherd_http_requests_total");
        for (std::size_t i = 0; i < codes.size(); ++i)
            requests[i] = &request_family.Add({{"code", codes[i] == 0 ? "other" : std::to_string(codes[i])}});
        auto& closed_family = family<prometheus::Counter>(registry, "keyshepherd_sessions_closed_total");
        for (std::size_t i = 0; i < close_reasons.size(); ++i)
            closed[i] = &closed_family.Add({{"reason", std::string(close_reasons[i])}});
        family<prometheus::Gauge>(registry, "keyshepherd_build_info")
            .Add({{"version", std::string(version())}, {"commit", std::string(commit())}})
            .Set(1);
    }
};

Metrics::Metrics() : series_(std::make_unique<Series>()) {}
Metrics::~Metrics() = default;

void Metrics::admission(std::string_view outcome, std::string_view reason, bool dry_run, double seconds) {
    std::size_t at = 0;
    while (at + 1 < admission_labels.size() &&
           !(admission_labels[at].outcome == outcome && admission_labels[at].reason == reason))
        ++at;
    series_->admissions[at][dry_run ? 1 : 0]->Increment();
    series_->duration.Observe(seconds);
}

void Metrics::http_request(int code) {
    series_->requests[index_or_last(codes, code)]->Increment();
}
void Metrics::session_opened() {
    series_->sessions.Increment();
}

void Metrics::session_closed(std::string_view reason) {
    series_->sessions.Decrement();
    series_->closed[index_or_last(close_reasons, reason)]->Increment();
}

void Metrics::body_bytes_in_flight(std::size_t bytes) {
    series_->body_bytes.Set(static_cast<double>(bytes));
}

void Metrics::certificate_loaded(double not_after, bool reload) {
    series_->expiry.Set(not_after);
    if (reload) series_->reloads.Increment();
}

void Metrics::certificate_reload_failed() {
    series_->reload_errors.Increment();
}

void Metrics::providers_loaded(bool reload) {
    if (reload) series_->provider_reloads.Increment();
}

void Metrics::provider_reload_failed() {
    series_->provider_reload_errors.Increment();
}

void Metrics::providers(std::size_t usable, std::size_t faulty) {
    series_->providers.Set(static_cast<double>(usable));
    series_->providers_faulty.Set(static_cast<double>(faulty));
}

void Metrics::watch_failed() {
    series_->watch_failures.Increment();
}

void Metrics::watches_failing(std::size_t count) {
    series_->watches_failing.Set(static_cast<double>(count));
}

std::string Metrics::text() const {
    std::ostringstream out;
    const prometheus::TextSerializer serializer;
    serializer.Serialize(out, series_->registry.Collect());
    return std::move(out).str();
}

}  // namespace keyshepherd::telemetry
