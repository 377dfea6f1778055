// Restarts workloads as `kubectl rollout restart` does, with an annotation of the pod template. The same
// value restarts a workload only once.
#pragma once

#include <keyshepherd/kube/client.hpp>
#include <keyshepherd/planner/rotation.hpp>

#include <string>
#include <string_view>

namespace keyshepherd::controller {

// `kind` is Deployment, StatefulSet or DaemonSet. Errc::not_found if the workload does not exist.
kube::Task<result<kube::Json>> get_workload(kube::Client& kube, std::string ns, std::string kind,
                                            std::string name, kube::Deadline deadline);
kube::Task<result<planner::RolloutState>> look_at_rollout(kube::Client& kube, std::string ns,
                                                          std::string kind, std::string name,
                                                          std::string annotation, std::string value,
                                                          kube::Deadline deadline);
// With a `resource_version`, patches only this version: Errc::conflict if the workload has changed.
kube::Task<result<void>> roll_out(kube::Client& kube, std::string ns, std::string kind, std::string name,
                                  std::string annotation, std::string value, kube::Deadline deadline,
                                  std::string resource_version = {});

}  // namespace keyshepherd::controller
