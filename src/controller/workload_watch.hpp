// Watches Deployments, StatefulSets and DaemonSets, and stores what a key rotation needs to know about
// injected ones.
#pragma once

#include <keyshepherd/kube/reflector.hpp>
#include <keyshepherd/planner/rotation.hpp>
#include <keyshepherd/telemetry/log.hpp>
#include <keyshepherd/telemetry/operator_metrics.hpp>

#include <array>
#include <functional>
#include <map>
#include <string>

namespace keyshepherd::controller {

// Not thread-safe.
class WorkloadWatch {
public:
    // Called with a namespace and the name of a provider if its workloads, or how they use it, changed.
    using Changed = std::function<void(const std::string& ns, const std::string& provider)>;

    WorkloadWatch(std::string default_provider, Changed changed, telemetry::OperatorMetrics& metrics,
                  telemetry::Log& log);
    WorkloadWatch(const WorkloadWatch&) = delete;
    WorkloadWatch& operator=(const WorkloadWatch&) = delete;

    struct Collection final : kube::Sink {
        Collection(WorkloadWatch& owner_, std::string kind_, std::string plural);
        void replaced(std::vector<kube::Json> objects, const std::vector<std::string>& gone) override;
        void applied(kube::Json object) override;
        void removed(const std::string& key, kube::Json last_state) override;
        void failed(const Error& error, std::chrono::milliseconds wait) override;

        WorkloadWatch& owner;
        std::string kind;
        kube::Resource resource;
        bool synced = false;
    };
    std::array<Collection, 3>& collections() { return collections_; }
    bool synced() const;

    // All injected workloads, by "Deployment/namespace/name".
    const std::map<std::string, planner::Workload>& all() const { return known_; }
    // Records a restart by the operator before the watch reports it.
    void rolled(const std::string& id, const std::string& provider, const std::string& record);

private:
    void put(const std::string& id, std::optional<planner::Workload> workload);

    std::string default_provider_;
    Changed changed_;
    telemetry::OperatorMetrics& metrics_;
    telemetry::Log& log_;
    std::map<std::string, planner::Workload> known_;
    std::array<Collection, 3> collections_;
};

}  // namespace keyshepherd::controller
