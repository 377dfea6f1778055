// Why a workload was left as it is: the one list from which the injector's answers, the log and the label
// `reason` of keyshepherd_admission_requests_total are taken.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace keyshepherd {

enum class SkipReason {
    kind,                // not a kind that is injected
    excluded_namespace,  // a namespace that is never injected
    not_asked,           // no annotation asks for it
    opted_out,           // an annotation says no
    unchanged,           // what is stored is right already
    no_containers,       // the API server refuses such a workload itself
    windows,             // the pod runs on Windows nodes
    nothing_to_wire,     // no selected container takes a variable or a file
    no_object,           // the review has none, as of a deletion
};

constexpr std::array skip_reasons = {
    SkipReason::kind,      SkipReason::excluded_namespace, SkipReason::not_asked,
    SkipReason::opted_out, SkipReason::unchanged,          SkipReason::no_containers,
    SkipReason::windows,   SkipReason::nothing_to_wire,    SkipReason::no_object,
};

// As logs and metrics spell it.
constexpr std::string_view text(SkipReason reason) {
    switch (reason) {
        case SkipReason::kind:
            return "kind";
        case SkipReason::excluded_namespace:
            return "namespace";
        case SkipReason::not_asked:
            return "not-asked";
        case SkipReason::opted_out:
            return "opted-out";
        case SkipReason::unchanged:
            return "unchanged";
        case SkipReason::no_containers:
            return "no-containers";
        case SkipReason::windows:
            return "windows";
        case SkipReason::nothing_to_wire:
            return "nothing-to-wire";
        case SkipReason::no_object:
            return "no-object";
    }
    return "";
}

// Every reason is in the list: the last enumerator's value counts them.
static_assert(skip_reasons.size() == static_cast<std::size_t>(SkipReason::no_object) + 1);

}  // namespace keyshepherd
