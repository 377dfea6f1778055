// How much one workload may ask for. Everything else that it holds costs time in proportion to its size, and
// has no limit of ours: a pod may have any number of containers, variables, volumes and annotations.
#pragma once

#include <cstddef>

namespace keyshepherd::inject {

// Of all annotations of an object: ValidateAnnotationsSize in k8s.io/apimachinery/pkg/api/validation.
inline constexpr std::size_t annotation_bytes = 262'144;

// Variables and files that one pod asks for out of Vault. The agent's configuration is an annotation and
// takes at least 370 bytes for each, so that annotation_bytes has no room for more than 700.
inline constexpr std::size_t most_requested = 1'000;

// Entries of `env` that are wired in all containers of a pod. It bounds what an injection adds, which is
// variables times containers. An added entry takes at least 100 bytes, and etcd takes objects of 1.5 MiB
// (--max-request-bytes).
inline constexpr std::size_t most_wired = 10'000;

// Faults in one answer; of the others only their number is told.
inline constexpr std::size_t most_faults = 100;

}  // namespace keyshepherd::inject
