// One AdmissionReview (admission.k8s.io/v1 and v1beta1), from bytes to bytes.
// https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
#pragma once

#include <keyshepherd/inject/injector.hpp>

#include <string>
#include <string_view>

namespace keyshepherd::admission {

struct Answer {
    int status = 200;  // HTTP
    std::string body;  // AdmissionReview, or one line of text where status is not 200
    std::string_view
        outcome;  // label of the metric: "injected", "removed", "untouched", "denied", "malformed"
    std::string_view reason;  // why untouched (inject::Outcome::reason), "namespace-unknown", or ""
    bool dry_run = false;
    // Denied only for what may be known in a moment: worth another look at the same review, and as long as it
    // is passing, another try.
    bool arriving = false;
    bool passing = false;
    std::string fields;  // of a denial: the paths of its faults, at most ten, for the log
    // For the log; views into nothing: copies. Never a value out of the object.
    std::string uid, kind, workload_namespace, name, operation;
};

// Never throws for what a client sent: a body that is no review is status 400 (or 413 past a limit of depth
// or size).
Answer review(std::string_view body, const inject::Catalog& catalog, const inject::Settings& settings,
              const inject::Namespaces& namespaces = inject::Namespaces());

}  // namespace keyshepherd::admission
