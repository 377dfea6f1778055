#include "namespace_watch.hpp"

#include <utility>

namespace keyshepherd::controller {

void NamespaceWatch::replaced(std::vector<kube::Json> objects, const std::vector<std::string>& gone) {
    for (const std::string& name : gone) removed(name, nullptr);
    for (kube::Json& object : objects) applied(std::move(object));
    synced_ = true;
    changed_();
}

void NamespaceWatch::applied(kube::Json object) {
    inject::Labels labels = kube::labels(object);
    const std::string name = kube::key(object);
    leaves_(name, kube::metadata(object).deletion_timestamp);
    const inject::Labels* before = known_.find(name);
    if (before != nullptr && *before == labels) return;
    known_.put(name, std::move(labels));
    if (synced_) changed_();
}

void NamespaceWatch::removed(const std::string& key, kube::Json) {
    known_.erase(key);
    leaves_(key, "");
}

void NamespaceWatch::failed(const Error& error, std::chrono::milliseconds wait) {
    metrics_.watch_failed();
    log_.warn("cannot watch", {{"kind", "Namespace"}, {"error", error.message}, {"waitMs", wait.count()}});
}

}  // namespace keyshepherd::controller
