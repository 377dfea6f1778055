
#include <keyshepherd/admission/review.hpp>
#include <keyshepherd/core/base64.hpp>
#include <keyshepherd/core/text.hpp>
#include <keyshepherd/json/writer.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace keyshepherd::admission {

namespace {

using inject::Outcome;
using inject::Verdict;

Answer malformed(int status, std::string_view why) {
    Answer answer;
    answer.status = status;
    answer.body = fmt::format("{}\n", why);
    answer.outcome = "malformed";
    return answer;
}

using json::append_text;

// Status.details of a denial: one cause a fault, as the API server's own validation does.
void append_denial(std::string& out, const Answer& answer, const Outcome& outcome) {
    std::string message = outcome.faults.size() == 1
                              ? "keyshepherd cannot inject: "
                              : fmt::format("keyshepherd cannot inject, {} errors: ", outcome.faults.size());
    for (std::size_t i = 0; i < outcome.faults.size(); ++i)
        message +=
            fmt::format("{}{}: {}", i == 0 ? "" : "; ", outcome.faults[i].field, outcome.faults[i].message);
    // The API server hands this on; a client that is told to retry after a second does so by itself.
    out += answer.passing
               ? R"("status":{"status":"Failure","reason":"ServiceUnavailable","code":503,"message":)"
               : R"("status":{"status":"Failure","reason":"Invalid","code":422,"message":)";
    append_text(out, printable(message));
    out += answer.passing ? R"(,"details":{"retryAfterSeconds":1,"group":"apps","kind":)"
                          : R"(,"details":{"group":"apps","kind":)";
    append_text(out, answer.kind);
    out += R"(,"name":)";
    append_text(out, answer.name);
    out += R"(,"causes":[)";
    for (std::size_t i = 0; i < outcome.faults.size(); ++i) {
        out += i == 0 ? R"({"reason":"FieldValueInvalid","field":)"
                      : R"(,{"reason":"FieldValueInvalid","field":)";
        append_text(out, printable(outcome.faults[i].field));
        out += R"(,"message":)";
        append_text(out, printable(outcome.faults[i].message));
        out += '}';
    }
    out += "]}}";
}

// An admission warning is best kept below 256 characters: the API server cuts the whole list at 4096.
void append_warnings(std::string& out, const std::vector<std::string>& warnings) {
    if (warnings.empty()) return;
    out += R"(,"warnings":[)";
    for (std::size_t i = 0; i < warnings.size(); ++i) {
        if (i > 0) out += ',';
        append_text(out, printable("keyshepherd: " + warnings[i]));
    }
    out += ']';
}

std::string_view label(Verdict verdict) {
    switch (verdict) {
        case Verdict::untouched:
            return "untouched";
        case Verdict::injected:
            return "injected";
        case Verdict::removed:
            return "removed";
        case Verdict::denied:
            return "denied";
    }
    return "";
}

std::string body_of(std::string_view version, std::string_view uid, const Answer& answer,
                    const Outcome& outcome) {
    std::string out;
    out.reserve(16 << 10);
    out += R"({"kind":"AdmissionReview","apiVersion":)";
    append_text(out, version);
    out += R"(,"response":{"uid":)";
    append_text(out, uid);
    if (outcome.verdict == Verdict::denied) {
        out += R"(,"allowed":false,)";
        append_denial(out, answer, outcome);
    } else {
        out += R"(,"allowed":true)";
        if (!outcome.patch.empty()) {
            out += R"(,"patchType":"JSONPatch","patch":")";
            append_base64(out, outcome.patch);
            out += '"';
        }
    }
    append_warnings(out, outcome.warnings);
    out += "}}";
    return out;
}

}  // namespace

Answer review(std::string_view body, const inject::Catalog& catalog, const inject::Settings& settings,
              const inject::Namespaces& namespaces) {
    if (body.empty()) return malformed(400, "the request body is empty; send an AdmissionReview");
    unsigned char buffer[64 << 10];
    json::bj::monotonic_resource arena(buffer, sizeof buffer);
    auto parsed = json::parse(body, &arena);
    if (!parsed)
        return malformed(parsed.error().code == Errc::too_large ? 413 : 400,
                         "request body: " + parsed.error().message);
    const std::string_view version = json::find_text(*parsed, {"apiVersion"});
    if (json::find_text(*parsed, {"kind"}) != "AdmissionReview" ||
        (version != "admission.k8s.io/v1" && version != "admission.k8s.io/v1beta1"))
        return malformed(400, "the request body is not an AdmissionReview of admission.k8s.io/v1 or v1beta1");
    const json::object* request = json::find_object(*parsed, {"request"});
    const std::string_view uid = json::find_text(*parsed, {"request", "uid"});
    if (request == nullptr || uid.empty()) return malformed(400, "the AdmissionReview has no request.uid");

    Answer answer;
    answer.uid = uid;
    answer.kind = json::find_text(*parsed, {"request", "kind", "kind"});
    answer.workload_namespace = json::find_text(*parsed, {"request", "namespace"});
    answer.name = json::find_text(*parsed, {"request", "name"});
    answer.operation = json::find_text(*parsed, {"request", "operation"});
    const json::value* dry_run = json::find(*parsed, {"request", "dryRun"});
    answer.dry_run = dry_run != nullptr && *dry_run == json::value(true);

    const bool apps = json::find_text(*parsed, {"request", "kind", "group"}) == "apps";
    json::value* object = json::find(*parsed, {"request", "object"});
    const Outcome outcome =
        object == nullptr
            ? Outcome{.reason = text(SkipReason::no_object), .warnings = {}, .faults = {}, .patch = {}}
            : inject::inject(*object,
                             {.kind = apps ? std::string_view(answer.kind) : std::string_view(),
                              .workload_namespace = answer.workload_namespace,
                              .old = json::find(*parsed, {"request", "oldObject"}),
                              .patch_only = true,
                              .namespaces = &namespaces},
                             catalog, settings);
    answer.outcome = label(outcome.verdict);
    answer.reason = outcome.reason;
    answer.arriving =
        !outcome.faults.empty() && std::ranges::all_of(outcome.faults, &inject::Fault::arriving);
    answer.passing = !outcome.faults.empty() && std::ranges::all_of(outcome.faults, &inject::Fault::passing);
    if (answer.passing) answer.reason = "namespace-unknown";
    constexpr std::size_t most_fields = 10;
    for (std::size_t i = 0; i < outcome.faults.size() && i <= most_fields; ++i) {
        answer.fields += i == 0 ? "" : ", ";
        answer.fields += i == most_fields ? std::string("…") : outcome.faults[i].field;
    }
    answer.body = body_of(version, uid, answer, outcome);
    return answer;
}

}  // namespace keyshepherd::admission
