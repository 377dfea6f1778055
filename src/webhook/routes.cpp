#include <keyshepherd/admission/review.hpp>
#include <keyshepherd/core/ascii.hpp>
#include <keyshepherd/webhook/routes.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>

namespace keyshepherd::webhook {

namespace {

using net::Request;
using net::Response;

std::string_view path_of(std::string_view target) {
    return target.substr(0, target.find('?'));
}

Response text(int status, std::string body) {
    Response response;
    response.status = status;
    response.body = std::move(body);
    return response;
}

Response wrong_method(std::string_view method, std::string_view path, std::string_view allowed) {
    Response response =
        text(405, fmt::format("{} supports {}, not {}\n", path, allowed, method.substr(0, 20)));
    response.headers.emplace_back("Allow", allowed);
    return response;
}

// A namespace or a provider and its first workload come in one `kubectl apply`; the watch tells of it some
// milliseconds later. A provider that is unknown is most likely a wrong name.
constexpr std::chrono::milliseconds wait_for_namespace{2'000};
constexpr std::chrono::milliseconds wait_for_provider{500};

// `most`, and no more than half of what the API server gives us: /mutate?timeout=5s.
std::chrono::milliseconds wait_within(std::string_view target, std::chrono::milliseconds most) {
    constexpr std::string_view name = "timeout=";
    const std::size_t at = target.find(name);
    if (at == std::string_view::npos) return most;
    target.remove_prefix(at + name.size());
    unsigned seconds = 0;
    const auto [rest, error] = std::from_chars(target.data(), target.data() + target.size(), seconds);
    if (error != std::errc{} || seconds == 0 || seconds > 60) return most;
    return std::min(most, std::chrono::milliseconds(seconds * 500));
}

bool is_read(std::string_view method) {
    return method == "GET" || method == "HEAD";
}

// RFC 9110: type and subtype in any case, parameters after a semicolon.
bool is_json(std::string_view content_type) {
    content_type = content_type.substr(0, content_type.find(';'));
    while (content_type.ends_with(' ') || content_type.ends_with('\t')) content_type.remove_suffix(1);
    constexpr std::string_view json = "application/json";
    return to_lower(content_type) == json;
}

}  // namespace

Routes::Routes(const View& view, inject::Settings settings, net::WallTime certificate_not_after,
               telemetry::Log& log, telemetry::Metrics& metrics, bool verified_clients_only)
    : view_(view),
      settings_(std::move(settings)),
      not_after_(certificate_not_after),
      verified_clients_only_(verified_clients_only),
      log_(log),
      metrics_(metrics) {}

Response Routes::admission_port(const Request& request) {
    const std::string_view path = path_of(request.target);
    if (path == "/mutate") {
        if (verified_clients_only_ && !request.client_is_verified)
            return text(403, "a client certificate issued by the CA of --client-ca-file is required\n");
        if (request.method != "POST") return wrong_method(request.method, path, "POST");
        if (!is_json(request.content_type)) return text(415, "Content-Type must be application/json\n");
        return mutate(request);
    }
    if (path == "/healthz")
        return is_read(request.method) ? text(200, "ok\n") : wrong_method(request.method, path, "GET");
    if (path == "/readyz")
        return is_read(request.method) ? readiness() : wrong_method(request.method, path, "GET");
    return text(404, "not found; the paths are /mutate, /healthz and /readyz\n");
}

Response Routes::metrics_port(const Request& request) {
    const std::string_view path = path_of(request.target);
    if (path != "/metrics" && path != "/healthz" && path != "/readyz")
        return text(404, "not found; the paths are /metrics, /healthz and /readyz\n");
    if (!is_read(request.method)) return wrong_method(request.method, path, "GET");
    if (path == "/healthz") return text(200, "ok\n");
    if (path == "/readyz") return readiness();
    Response response = text(200, metrics_.text());
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    return response;
}

Response Routes::readiness() const {
    if (draining_) return text(503, "the server is shutting down\n");
    if (std::chrono::system_clock::now() >= not_after_)
        return text(503, fmt::format("the serving certificate expired at {}; replace the files of "
                                     "--tls-cert-file and --tls-key-file\n",
                                     net::format_time(not_after_)));
    if (!view_.unread.empty()) return text(503, view_.unread + "\n");
    return text(200, "ok\n");
}

Response Routes::mutate(const Request& request) {
    const auto start = std::chrono::steady_clock::now();
    const auto seconds = [&] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    if (!view_.unread.empty()) {
        metrics_.admission("failed", "", false, seconds());
        return text(503, view_.unread + "\n");
    }
    admission::Answer answer;
    try {
        answer = admission::review(request.body, view_.catalog, settings_, view_.namespaces);
    } catch (...) {
        metrics_.admission("failed", "", false, seconds());
        throw;
    }
    if (answer.arriving && !request.last) {
        Response later;
        later.wait = wait_within(request.target, answer.passing ? wait_for_namespace : wait_for_provider);
        return later;
    }
    const double took = seconds();
    metrics_.admission(answer.outcome, answer.reason, answer.dry_run, took);
    const auto level = answer.outcome == "malformed" ? telemetry::Level::warn
                       : answer.outcome == "denied"  ? telemetry::Level::info
                                                     : telemetry::Level::debug;
    const auto write = [&](auto... more) {
        log_.write(level, "admission",
                   {{"uid", answer.uid},
                    {"kind", answer.kind},
                    {"namespace", answer.workload_namespace},
                    {"name", answer.name},
                    {"operation", answer.operation},
                    {"outcome", answer.outcome},
                    {"reason", answer.reason},
                    {"dryRun", answer.dry_run},
                    {"code", answer.status},
                    {"durationMs", static_cast<double>(static_cast<long>(took * 1e6)) / 1e3},
                    more...});
    };
    if (log_.enabled(level)) {
        if (answer.fields.empty())
            write();
        else
            write(telemetry::Field("fields", answer.fields));
    }
    Response response;
    response.status = answer.status;
    response.body = std::move(answer.body);
    if (answer.status == 200)
        response.content_type = "application/json";
    else if (!response.body.ends_with('\n'))
        response.body += '\n';
    return response;
}

}  // namespace keyshepherd::webhook
