#include "rollout.hpp"

#include <algorithm>
#include <cctype>

namespace keyshepherd::controller {

using kube::Json;

namespace {

const Json& at(const Json& object, std::initializer_list<const char*> names) {
    static const Json none;
    const Json* found = &object;
    for (const char* name : names) {
        if (!found->is_object()) return none;
        const auto next = found->find(name);
        if (next == found->end()) return none;
        found = &*next;
    }
    return *found;
}

std::int64_t number(const Json& object, std::initializer_list<const char*> names, std::int64_t otherwise) {
    const Json& found = at(object, names);
    return found.is_number_integer() ? found.get<std::int64_t>() : otherwise;
}

kube::ObjectRef workload(std::string ns, const std::string& kind, std::string name) {
    std::string plural = kind + "s";
    std::ranges::transform(plural, plural.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return {{"apps", "v1", std::move(plural), true}, std::move(ns), std::move(name)};
}

}  // namespace

RolloutState rollout_state(const Json& object, const std::string& annotation, const std::string& value) {
    RolloutState state;
    state.told =
        at(object, {"spec", "template", "metadata", "annotations", annotation.c_str()}) == Json(value);
    if (!state.told ||
        number(object, {"status", "observedGeneration"}, 0) < number(object, {"metadata", "generation"}, 0))
        return state;
    if (object.value("kind", "") == "DaemonSet") {
        const auto wanted = number(object, {"status", "desiredNumberScheduled"}, 0);
        state.out = number(object, {"status", "updatedNumberScheduled"}, 0) >= wanted &&
                    number(object, {"status", "numberAvailable"}, 0) >= wanted;
        return state;
    }
    const auto wanted = number(object, {"spec", "replicas"}, 1);
    // No pod of the old template is left, and as many as are wanted of the new one serve.
    state.out = number(object, {"status", "updatedReplicas"}, 0) >= wanted &&
                number(object, {"status", "replicas"}, 0) <= wanted &&
                number(object, {"status", "availableReplicas"}, 0) >= wanted;
    return state;
}

kube::Task<result<RolloutState>> look_at_rollout(kube::Client& kube, std::string ns, std::string kind,
                                                 std::string name, std::string annotation, std::string value,
                                                 kube::Deadline deadline) {
    KEYSHEPHERD_CO_TRY(const Json object,
                       co_await kube.get(workload(std::move(ns), kind, std::move(name)), deadline));
    co_return rollout_state(object, annotation, value);
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
