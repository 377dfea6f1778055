// Watches Namespaces: their labels, by which overrides of providers select, and their deletion.
#pragma once

#include <keyshepherd/inject/namespaces.hpp>
#include <keyshepherd/kube/reflector.hpp>
#include <keyshepherd/telemetry/log.hpp>
#include <keyshepherd/telemetry/operator_metrics.hpp>

#include <functional>
#include <string>
#include <vector>

namespace keyshepherd::controller {

// Not thread-safe.
class NamespaceWatch final : public kube::Sink {
public:
    // Receives the deletion time of a namespace; "" if it is not being deleted, or is gone.
    using Leaves = std::function<void(const std::string& ns, const std::string& deletion_time)>;

    // Calls `changed` if the labels of a namespace change, and `leaves` for every event of a namespace.
    NamespaceWatch(std::function<void()> changed, Leaves leaves, telemetry::OperatorMetrics& metrics,
                   telemetry::Log& log)
        : changed_(std::move(changed)), leaves_(std::move(leaves)), metrics_(metrics), log_(log) {}

    static kube::Resource resource() { return {"", "v1", "namespaces", false}; }

    bool synced() const { return synced_; }
    // Null if the namespace is not known.
    const inject::Labels* labels(std::string_view ns) const { return known_.find(ns); }

    void replaced(std::vector<kube::Json> objects, const std::vector<std::string>& gone) override;
    void applied(kube::Json object) override;
    void removed(const std::string& key, kube::Json last_state) override;
    void failed(const Error& error, std::chrono::milliseconds wait) override;

private:
    std::function<void()> changed_;
    Leaves leaves_;
    telemetry::OperatorMetrics& metrics_;
    telemetry::Log& log_;
    inject::Namespaces known_;
    bool synced_ = false;
};

}  // namespace keyshepherd::controller
