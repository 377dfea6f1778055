#include <keyshepherd/fsm/resync.hpp>

#include <algorithm>

namespace keyshepherd::fsm {

namespace {

Duration part(Duration whole, double share) {
    return Duration(static_cast<Duration::rep>(static_cast<double>(whole.count()) * share));
}

}  // namespace

Duration oldest_answer(Duration period) {
    return period / 5;
}

Duration next_look(Duration period, double unit) {
    return part(period, 0.8 + 0.2 * unit);
}

Duration next_look(Duration period, Duration age, double unit) {
    return std::max<Duration>(part(period, 1 - 0.05 * unit) - age, Duration(0));
}

}  // namespace keyshepherd::fsm
