// When a resource at rest is looked at again. What has changed in Vault is seen within `period`, however the
// looks before were answered. Pure: `unit` is uniform in [0, 1).
#pragma once

#include <keyshepherd/fsm/backoff.hpp>

namespace keyshepherd::fsm {

// How long ago an answer about everything may have been asked for that still answers for one resource: long
// enough that one of them answers for all whose looks are as far apart as next_look() lets them be.
Duration oldest_answer(Duration period);

// The wait after a look that asked Vault itself.
Duration next_look(Duration period, double unit);

// The wait after a look that an answer of this age had to do for: what has changed since it was asked for was
// not seen, so age and wait together are no more than the period. They differ little: those who shared an
// answer share the next.
Duration next_look(Duration period, Duration age, double unit);

}  // namespace keyshepherd::fsm
