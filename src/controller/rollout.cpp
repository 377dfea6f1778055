#include "rollout.hpp"

#include <keyshepherd/core/ascii.hpp>

#include <algorithm>
#include <cctype>

namespace keyshepherd::controller {

using kube::Json;

namespace {

kube::ObjectRef workload(std::string ns, const std::string& kind, std::string name) {
    return {{"apps", "v1", to_lower(kind) + "s", true}, std::move(ns), std::move(name)};
}

}  // namespace

kube::Task<result<Json>> get_workload(kube::Client& kube, std::string ns, std::string kind, std::string name,
                                      kube::Deadline deadline) {
    co_return co_await kube.get(workload(std::move(ns), kind, std::move(name)), deadline);
}

kube::Task<result<planner::RolloutState>> look_at_rollout(kube::Client& kube, std::string ns,
                                                          std::string kind, std::string name,
                                                          std::string annotation, std::string value,
                                                          kube::Deadline deadline) {
    KEYSHEPHERD_CO_TRY(const Json object, co_await get_workload(kube, std::move(ns), std::move(kind),
                                                                std::move(name), deadline));
    co_return planner::rollout_state(object, annotation, value);
}

kube::Task<result<void>> roll_out(kube::Client& kube, std::string ns, std::string kind, std::string name,
                                  std::string annotation, std::string value, kube::Deadline deadline,
                                  std::string resource_version) {
    Json body;
    if (!resource_version.empty()) body["metadata"]["resourceVersion"] = std::move(resource_version);
    body["spec"]["template"]["metadata"]["annotations"][annotation] = value;
    const auto patched =
        co_await kube.patch(workload(std::move(ns), kind, std::move(name)),
                            {.kind = kube::Patch::Kind::merge, .body = std::move(body)}, deadline);
    if (!patched) co_return std::unexpected(patched.error());
    co_return result<void>();
}

}  // namespace keyshepherd::controller
