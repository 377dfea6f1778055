// Restarts of workloads, as `kubectl rollout restart` does them: an annotation of the pod template. One value
// restarts once, however often it is asked for.
#pragma once

#include <keyshepherd/kube/client.hpp>
#include <keyshepherd/planner/rotation.hpp>

#include <string>
#include <string_view>

namespace keyshepherd::controller {

// `kind` is Deployment, StatefulSet or DaemonSet. Errc::not_found: there is none.
kube::Task<result<kube::Json>> get_workload(kube::Client& kube, std::string ns, std::string kind,
                                            std::string name, kube::Deadline deadline);
kube::Task<result<planner::RolloutState>> look_at_rollout(kube::Client& kube, std::string ns,
                                                          std::string kind, std::string name,
                                                          std::string annotation, std::string value,
                                                          kube::Deadline deadline);
// With a `resource_version` only what it was then is patched: Errc::conflict when it has changed since.
kube::Task<result<void>> roll_out(kube::Client& kube, std::string ns, std::string kind, std::string name,
                                  std::string annotation, std::string value, kube::Deadline deadline,
                                  std::string resource_version = {});

}  // namespace keyshepherd::controller
