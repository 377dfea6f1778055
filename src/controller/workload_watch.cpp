#include "workload_watch.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace keyshepherd::controller {

WorkloadWatch::WorkloadWatch(std::string default_provider, Changed changed,
                             telemetry::OperatorMetrics& metrics, telemetry::Log& log)
    : default_provider_(std::move(default_provider)),
      changed_(std::move(changed)),
      metrics_(metrics),
      log_(log),
      collections_{Collection(*this, "Deployment", "deployments"),
                   Collection(*this, "StatefulSet", "statefulsets"),
                   Collection(*this, "DaemonSet", "daemonsets")} {}

WorkloadWatch::Collection::Collection(WorkloadWatch& owner_, std::string kind_, std::string plural)
    : owner(owner_), kind(std::move(kind_)), resource{"apps", "v1", std::move(plural), true} {}

void WorkloadWatch::Collection::replaced(std::vector<kube::Json> objects,
                                         const std::vector<std::string>& gone) {
    for (const std::string& key : gone) owner.put(kind + "/" + key, std::nullopt);
    for (kube::Json& object : objects) applied(std::move(object));
    synced = true;
}

void WorkloadWatch::Collection::applied(kube::Json object) {
    owner.put(kind + "/" + kube::key(object), planner::read_workload(object, owner.default_provider_));
}

void WorkloadWatch::Collection::removed(const std::string& key, kube::Json) {
    owner.put(kind + "/" + key, std::nullopt);
}

void WorkloadWatch::Collection::failed(const Error& error, std::chrono::milliseconds wait) {
    owner.metrics_.watch_failed();
    owner.log_.warn("cannot watch", {{"kind", kind}, {"error", error.message}, {"waitMs", wait.count()}});
}

bool WorkloadWatch::synced() const {
    return std::ranges::all_of(collections_, [](const Collection& each) { return each.synced; });
}

void WorkloadWatch::rolled(const std::string& id, const std::string& provider, const std::string& record) {
    if (const auto at = known_.find(id); at != known_.end()) at->second.told[provider] = record;
}

void WorkloadWatch::put(const std::string& id, std::optional<planner::Workload> workload) {
    const auto at = known_.find(id);
    if (at == known_.end() && !workload) return;
    if (at != known_.end() && workload && at->second.means_the_same(*workload)) {
        at->second = *std::move(workload);
        return;
    }
    const std::string ns = workload ? workload->ns : at->second.ns;
    std::set<std::string> concerned;
    if (at != known_.end()) concerned = at->second.providers;
    if (workload) {
        concerned.insert(workload->providers.begin(), workload->providers.end());
        known_.insert_or_assign(id, *std::move(workload));
    } else {
        known_.erase(at);
    }
    for (const std::string& provider : concerned) changed_(ns, provider);
}

}  // namespace keyshepherd::controller
