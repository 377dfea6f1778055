// The injector: a workload, its annotations, the providers and the settings in; a patch, or every fault, out.
//
// Pure: same input, same bytes, in every process. `object` is edited in place and the patch says how (RFC
// 6902); with `patch_only` the object is used up.
//
//     auto outcome = inject(deployment, {.kind = "Deployment", .workload_namespace = "shop"}, catalog,
//     settings);
#pragma once

#include <keyshepherd/core/skip_reason.hpp>
#include <keyshepherd/inject/namespaces.hpp>
#include <keyshepherd/inject/provider.hpp>
#include <keyshepherd/inject/settings.hpp>
#include <keyshepherd/json/value.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::inject {

struct Workload {
    std::string_view kind;                // "Deployment"; other kinds are left alone
    std::string_view workload_namespace;  // of the request: the object may not carry it yet
    const json::value* old = nullptr;     // the stored object, on an update
    bool patch_only = false;              // the caller does not read the edited object: the patch is the same
    const Namespaces* namespaces = nullptr;  // null: of none more than its name is known
};

struct Fault {
    std::string field;      // metadata.annotations[keyshepherd.dev/wiring]
    std::string message;    // what is wrong and what would be right
    bool arriving = false;  // what it misses may be known in a moment: worth another look at the same object
    bool passing = false;   // and nothing is wrong with the workload: worth another try when it did not come
};

enum class Verdict {
    untouched,  // nothing to do: an empty patch
    injected,
    removed,  // opted out: what was ours is taken out
    denied,   // see faults
};

struct Outcome {
    Verdict verdict = Verdict::untouched;
    std::string_view reason = "";  // of `untouched`: the text of a SkipReason
    std::vector<std::string> warnings;
    std::vector<Fault> faults;
    std::size_t unnamed_faults = 0;  // beside `faults`, which are no more than an answer can hold
    // Adds a fault, or counts it where there are enough.
    void refuse(std::string field, std::string message);
    std::string patch;  // RFC 6902, JSON text; empty where nothing changes
};

Outcome inject(json::value& object, const Workload& workload, const Catalog& catalog,
               const Settings& settings);

}  // namespace keyshepherd::inject
