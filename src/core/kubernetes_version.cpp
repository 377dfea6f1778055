#include <keyshepherd/core/kubernetes_version.hpp>

#include <fmt/format.h>

#include <charconv>

namespace keyshepherd {

std::string KubernetesVersion::text() const {
    return fmt::format("{}.{}", major, minor);
}

result<KubernetesVersion> parse_kubernetes_version(std::string_view text) {
    std::string_view rest = text;
    if (rest.starts_with('v')) rest.remove_prefix(1);
    KubernetesVersion version;
    auto number = [&](int& out) {
        auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), out);
        if (error != std::errc{} || end == rest.data() || rest.front() == '-') return false;
        rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
        return true;
    };
    const bool good = !rest.empty() && number(version.major) && rest.starts_with('.') &&
                      (rest.remove_prefix(1), !rest.empty()) && number(version.minor) &&
                      (rest.empty() || rest.front() == '.' || rest.front() == '+' || rest.front() == '-');
    if (!good)
        return fail(Errc::invalid,
                    fmt::format("invalid Kubernetes version '{}': must be MAJOR.MINOR, such as 1.35", text));
    return version;
}

}  // namespace keyshepherd
