// Watches Namespaces: their labels, which a provider's overrides select by, and whether they are being
// deleted.
#pragma once

#include <keyshepherd/inject/namespaces.hpp>
#include <keyshepherd/kube/reflector.hpp>
#include <keyshepherd/telemetry/log.hpp>
#include <keyshepherd/telemetry/operator_metrics.hpp>

#include <functional>
#include <string>
#include <vector>

namespace keyshepherd::controller {

// For one thread.
class NamespaceWatch final : public kube::Sink {
public:
    // Of a namespace its deletion time, "" when it is not being deleted, or is gone.
    using Leaves = std::function<void(const std::string& ns, const std::string& deletion_time)>;

    // `changed` is called when the labels of some namespace are others, `leaves` whenever one is told of.
    NamespaceWatch(std::function<void()> changed, Leaves leaves, telemetry::OperatorMetrics& metrics,
                   telemetry::Log& log)
        : changed_(std::move(changed)), leaves_(std::move(leaves)), metrics_(metrics), log_(log) {}

    static kube::Resource resource() { return {"", "v1", "namespaces", false}; }

    bool synced() const { return synced_; }
    // Null for one that is not known.
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
