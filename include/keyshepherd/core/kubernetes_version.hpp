// A Kubernetes version, as `kubectl version` and Node.status.nodeInfo.kubeletVersion print it.
#pragma once

#include <keyshepherd/core/result.hpp>

#include <compare>
#include <string>
#include <string_view>

namespace keyshepherd {

struct KubernetesVersion {
    int major = 0;
    int minor = 0;

    auto operator<=>(const KubernetesVersion&) const = default;
    std::string text() const;  // "1.35"
};

// Takes "1.35", "v1.35.4", "1.35+", "v1.35.4-gke.1"; anything else is Errc::invalid.
result<KubernetesVersion> parse_kubernetes_version(std::string_view text);

}  // namespace keyshepherd
