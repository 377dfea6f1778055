#include "credentials.hpp"

#include <keyshepherd/core/ascii.hpp>
#include <keyshepherd/core/base64.hpp>
#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/core/server_clock.hpp>
#include <keyshepherd/core/time.hpp>
#include <keyshepherd/kube/client.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace keyshepherd::kube {

namespace {

// How old a token file's content may be, and how long before its end a plugin's credential is not used.
constexpr std::chrono::seconds token_file_age{60};
constexpr std::chrono::seconds expiry_margin{10};
constexpr net::ClientLimits limits{.connect = std::chrono::seconds(5)};

const Resource service_accounts{"", "v1", "serviceaccounts", true};

// Name and value of a query; an empty value is left out.
using Query = std::vector<std::pair<std::string_view, std::string>>;

std::string with_query(std::string path, const Query& query) {
    char separator = '?';
    for (const auto& [name, value] : query) {
        if (value.empty()) continue;
        path += separator;
        path += name;
        path += '=';
        path += percent_encode(value);
        separator = '&';
    }
    return path;
}

std::string_view content_type_of(Patch::Kind kind) {
    switch (kind) {
        case Patch::Kind::json_patch:
            return "application/json-patch+json";
        case Patch::Kind::merge:
            return "application/merge-patch+json";
        case Patch::Kind::apply:
            return "application/apply-patch+yaml";  // JSON is YAML
    }
    std::unreachable();
}

std::string_view name_of(Propagation propagation) {
    switch (propagation) {
        case Propagation::background:
            return "Background";
        case Propagation::foreground:
            return "Foreground";
        case Propagation::orphan:
            return "Orphan";
    }
    std::unreachable();
}

// One request, which may be sent twice. Wiped when done with.
struct Request {
    std::string method;
    std::string target;  // without the Config's prefix
    std::string content_type = {};
    std::string body = {};
    bool quote = true;  // the server's text may be repeated in an error

    Request(std::string method_, std::string target_)
        : method(std::move(method_)), target(std::move(target_)) {}
    Request(Request&&) = default;
    Request& operator=(Request&&) = default;
    ~Request() { wipe(body); }

    // "PATCH /api/v1/namespaces/default/configmaps/x"
    std::string subject() const { return method + ' ' + target.substr(0, target.find('?')); }

    result<void> set_body(std::string_view type, Json& json) {
        content_type = type;
        try {
            body = json.dump();
        } catch (const Json::exception&) {
            return fail(Errc::invalid,
                        fmt::format("{}: a string in the request is not valid UTF-8", subject()));
        }
        return {};
    }
};

// A name becomes one segment of a path. An empty one would make a DELETE that of a whole collection, and dots
// lead elsewhere; the API allows neither.
bool is_segment(std::string_view name) {
    return !name.empty() && name != "." && name != "..";
}

result<void> check(const Resource& resource, std::string_view ns) {
    if (!resource.namespaced || is_segment(ns)) return {};
    return fail(Errc::invalid, fmt::format("'{}' is not a valid namespace for {}", ns, resource.plural));
}

result<void> check(const ObjectRef& ref) {
    if (is_segment(ref.name)) return check(ref.resource, ref.ns);
    return fail(Errc::invalid, fmt::format("'{}' is not a valid name for {}", ref.name, ref.resource.plural));
}

bool is_secret(const Resource& resource) {
    return resource.group.empty() && resource.plural == "secrets";
}

// "ConfigMap" of "ConfigMapList"; the items of a list leave theirs out.
void name_items(std::vector<Json>& items, const std::string& api_version, std::string kind) {
    if (!kind.ends_with("List")) return;
    kind.resize(kind.size() - 4);
    for (Json& item : items) {
        if (!item.is_object()) continue;
        if (!item.contains("apiVersion")) item["apiVersion"] = api_version;
        if (!item.contains("kind")) item["kind"] = kind;
    }
}

Json parse_and_wipe(std::string& body) {
    drop_managed_fields(body);
    Json parsed = Json::parse(body, nullptr, false);
    wipe(body);
    return parsed;
}

}  // namespace

// A call holds on to it, so that what is left of one when the context goes is still good.
class Client::Session : public std::enable_shared_from_this<Client::Session> {
public:
    Session(boost::asio::io_context& context, Config config, std::string user_agent)
        : context_(context),
          config_(std::move(config)),
          user_agent_(std::move(user_agent)),
          http_(std::make_shared<net::Client>(context_, config_.origin, config_.tls, limits)) {}
    ~Session() {
        wipe(token_);
        wipe(config_.token);
        wipe(config_.tls.key);
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // An answer of 2xx, as JSON.
    Task<result<Json>> send(Request request, Deadline deadline) {
        const auto self = shared_from_this();
        bool fresh = false;
        for (;;) {
            KEYSHEPHERD_CO_TRY(net::Call call, co_await compose(request, fresh, deadline));
            const auto http = http_;
            KEYSHEPHERD_CO_TRY(net::Answer answer, co_await http->send(std::move(call)));
            if (answer.status == 401 && !fresh && renewable()) {
                fresh = true;
                continue;
            }
            clock_.set(seconds_of_http_date(answer.header("date")), SteadyClock::now());
            if (answer.status < 200 || answer.status > 299) {
                Error error = error_of(request.subject(), answer, request.quote);
                wipe(answer.body);
                co_return std::unexpected(std::move(error));
            }
            Json parsed = parse_and_wipe(answer.body);
            if (!parsed.is_object())
                co_return fail(Errc::protocol,
                               fmt::format("{}: the response is not a JSON object", request.subject()));
            co_return parsed;
        }
    }

    Task<result<Watch>> open(Request request, Deadline deadline) {
        const auto self = shared_from_this();
        bool fresh = false;
        for (;;) {
            KEYSHEPHERD_CO_TRY(net::Call call, co_await compose(request, fresh, deadline));
            const auto http = http_;
            KEYSHEPHERD_CO_TRY(net::Stream stream, co_await http->open(std::move(call)));
            if (stream.lines) co_return Watch(std::move(stream.lines));
            if (stream.answer.status == 401 && !fresh && renewable()) {
                fresh = true;
                continue;
            }
            co_return std::unexpected(error_of(request.subject(), stream.answer, request.quote));
        }
    }

    const Config& config() const { return config_; }
    std::int64_t server_time() const { return clock_.at(SteadyClock::now()); }

private:
    bool renewable() const { return !config_.token_file.empty() || config_.exec.has_value(); }

    Task<result<net::Call>> compose(const Request& request, bool fresh, Deadline deadline) {
        if (auto ready = co_await authenticate(fresh, deadline); !ready)
            co_return std::unexpected(std::move(ready).error());
        net::Call call;
        call.method = request.method;
        call.target = config_.path_prefix + request.target;
        call.headers.emplace_back("Accept", "application/json");
        call.headers.emplace_back("User-Agent", user_agent_);
        if (!token_.empty()) call.headers.emplace_back("Authorization", "Bearer " + token_);
        if (!request.content_type.empty()) call.headers.emplace_back("Content-Type", request.content_type);
        call.body = request.body;
        call.deadline = deadline;
        co_return call;
    }

    // Makes token_ and http_ good for a request.
    Task<result<void>> authenticate(bool fresh, Deadline deadline) {
        if (!config_.token_file.empty()) co_return read_token_file(fresh);
        if (!config_.token.empty()) {
            if (token_.empty()) token_ = config_.token;
            co_return result<void>();
        }
        if (config_.exec) co_return co_await run_exec(*config_.exec, fresh, deadline);
        co_return result<void>();
    }

    result<void> read_token_file(bool fresh) {
        const auto now = SteadyClock::now();
        if (!fresh && !token_.empty() && now < token_until_) return {};
        auto text = read_file(config_.token_file);
        if (!text) {
            if (!token_.empty() && !fresh)
                return {};  // the file changes this moment; the old token may be good
            return fail(Errc::unauthorized, fmt::format("cannot read the token file {}", config_.token_file));
        }
        while (!text->empty() && (text->back() == '\n' || text->back() == '\r' || text->back() == ' '))
            text->pop_back();
        wipe(token_);
        token_ = *text;
        wipe(*text);
        token_until_ = now + token_file_age;
        return {};
    }

    Task<result<void>> run_exec(const ExecPlugin& plugin, bool fresh, Deadline deadline) {
        const auto good = [this] {
            return have_exec_ && (!exec_expires_ ||
                                  std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()) +
                                          expiry_margin <
                                      *exec_expires_);
        };
        if (!fresh && good()) co_return result<void>();
        // One at a time; who waited looks whether what came of it will do.
        const std::uint64_t before = exec_runs_;
        while (exec_running_) {
            if (SteadyClock::now() >= deadline)
                co_return fail(Errc::timeout, "timed out waiting for the credential plugin");
            if (!co_await net::sleep_until(
                    std::min(deadline, SteadyClock::now() + std::chrono::milliseconds(20))))
                co_return fail(Errc::cancelled, "cancelled");
        }
        if (exec_runs_ != before && good()) co_return result<void>();
        exec_running_ = true;
        const std::shared_ptr<void> running(nullptr, [this](void*) { exec_running_ = false; });
        auto credential = co_await run_plugin(plugin, cluster_info(plugin), deadline);
        if (!credential) co_return std::unexpected(std::move(credential).error());
        wipe(token_);
        token_ = credential->token;
        exec_expires_ = credential->expires;
        have_exec_ = true;
        ++exec_runs_;
        if (!credential->certificate.empty()) {
            net::ClientTls tls = config_.tls;
            tls.certificate = credential->certificate;
            tls.key = credential->key;
            http_ = std::make_shared<net::Client>(context_, config_.origin, std::move(tls), limits);
        }
        co_return result<void>();
    }

    Json cluster_info(const ExecPlugin& plugin) const {
        if (!plugin.cluster_info) return nullptr;
        Json cluster = {{"server", config_.origin.text() + config_.path_prefix}};
        if (!config_.tls.ca.empty()) cluster["certificate-authority-data"] = encode_base64(config_.tls.ca);
        if (!config_.tls.server_name.empty()) cluster["tls-server-name"] = config_.tls.server_name;
        return cluster;
    }

    boost::asio::io_context& context_;
    Config config_;
    std::string user_agent_;
    std::shared_ptr<net::Client> http_;  // another one when a plugin gives another certificate
    std::string token_;
    Deadline token_until_{};
    bool have_exec_ = false;
    bool exec_running_ = false;
    std::uint64_t exec_runs_ = 0;
    std::optional<std::chrono::sys_seconds> exec_expires_;
    ServerClock clock_;
};

Client::Client(boost::asio::io_context& context, Config config, std::string user_agent)
    : session_(std::make_shared<Session>(context, std::move(config), std::move(user_agent))) {}

Client::~Client() = default;

std::int64_t Client::server_time() const {
    return session_->server_time();
}

const Config& Client::config() const {
    return session_->config();
}

Task<result<Json>> Client::get(ObjectRef ref, Deadline deadline) {
    if (const auto sound = check(ref); !sound) co_return std::unexpected(sound.error());
    Request request("GET", path(ref));
    co_return co_await session_->send(std::move(request), deadline);
}

Task<result<Page>> Client::list(Resource resource, std::string ns, ListOptions options, Deadline deadline) {
    const Query query = {{"limit", options.limit == 0 ? "" : std::to_string(options.limit)},
                         {"continue", options.continue_token},
                         {"labelSelector", options.label_selector},
                         {"fieldSelector", options.field_selector},
                         {"resourceVersion", options.continue_token.empty() ? options.resource_version : ""}};
    Request request("GET", with_query(path(resource, ns), query));
    const std::string subject = request.subject();
    KEYSHEPHERD_CO_TRY(Json list, co_await session_->send(std::move(request), deadline));
    const auto items = list.find("items");
    if (items == list.end() || !(items->is_array() || items->is_null()))
        co_return fail(Errc::protocol, fmt::format("{}: the response is not a list", subject));
    Page page;
    if (items->is_array()) page.items = std::move(items->get_ref<Json::array_t&>());
    if (const auto metadata = list.find("metadata"); metadata != list.end() && metadata->is_object()) {
        page.continue_token = text_at(*metadata, "continue");
        page.resource_version = text_at(*metadata, "resourceVersion");
    }
    name_items(page.items, text_at(list, "apiVersion"), text_at(list, "kind"));
    co_return page;
}

Task<result<Json>> Client::create(Resource resource, std::string ns, Json object, Deadline deadline) {
    if (const auto sound = check(resource, ns); !sound) co_return std::unexpected(sound.error());
    Request request("POST", path(resource, ns));
    request.quote = !is_secret(resource);
    const auto set = request.set_body("application/json", object);
    if (is_secret(resource)) wipe(object);
    if (!set) co_return std::unexpected(set.error());
    co_return co_await session_->send(std::move(request), deadline);
}

Task<result<Json>> Client::patch(ObjectRef ref, Patch patch, Deadline deadline) {
    if (patch.kind == Patch::Kind::apply && patch.field_manager.empty())
        co_return fail(Errc::invalid,
                       fmt::format("PATCH {}: server-side apply requires a field manager", path(ref)));
    if (const auto sound = check(ref); !sound) co_return std::unexpected(sound.error());
    const Query query = {{"fieldManager", patch.field_manager},
                         {"force", patch.kind == Patch::Kind::apply && patch.force ? "true" : ""}};
    Request request("PATCH", with_query(path(ref), query));
    request.quote = !is_secret(ref.resource);
    const auto set = request.set_body(content_type_of(patch.kind), patch.body);
    if (is_secret(ref.resource)) wipe(patch.body);
    if (!set) co_return std::unexpected(set.error());
    co_return co_await session_->send(std::move(request), deadline);
}

Task<result<void>> Client::remove(ObjectRef ref, Preconditions preconditions, Propagation propagation,
                                  Deadline deadline) {
    if (const auto sound = check(ref); !sound) co_return std::unexpected(sound.error());
    Json options = {
        {"apiVersion", "v1"}, {"kind", "DeleteOptions"}, {"propagationPolicy", name_of(propagation)}};
    if (!preconditions.uid.empty()) options["preconditions"]["uid"] = preconditions.uid;
    if (!preconditions.resource_version.empty())
        options["preconditions"]["resourceVersion"] = preconditions.resource_version;
    Request request("DELETE", path(ref));
    if (const auto set = request.set_body("application/json", options); !set)
        co_return std::unexpected(set.error());
    auto answer = co_await session_->send(std::move(request), deadline);
    if (!answer) co_return std::unexpected(std::move(answer).error());
    co_return result<void>();
}

Task<result<Watch>> Client::watch(Resource resource, std::string ns, WatchOptions options,
                                  Deadline deadline) {
    const Query query = {{"watch", "1"},
                         {"allowWatchBookmarks", "true"},
                         {"timeoutSeconds", std::to_string(options.timeout.count())},
                         {"labelSelector", options.label_selector},
                         {"fieldSelector", options.field_selector},
                         {"resourceVersion", options.resource_version},
                         {"sendInitialEvents", options.initial_events ? "true" : ""},
                         {"resourceVersionMatch", options.initial_events ? "NotOlderThan" : ""}};
    Request request("GET", with_query(path(resource, ns), query));
    co_return co_await session_->open(std::move(request), deadline);
}

Task<result<std::optional<WatchEvent>>> Watch::next(Deadline deadline) {
    while (lines_) {
        KEYSHEPHERD_CO_TRY(std::optional<std::string> line, co_await lines_->next(deadline));
        if (!line) break;
        if (line->empty()) continue;
        Json parsed = parse_and_wipe(*line);
        if (!parsed.is_object() || !parsed.contains("object"))
            co_return fail(Errc::protocol, "the watch returned a line that is not an event");
        WatchEvent event;
        event.type = text_at(parsed, "type");
        event.object = std::move(parsed["object"]);
        co_return std::optional<WatchEvent>(std::move(event));
    }
    co_return std::optional<WatchEvent>();
}

Task<result<std::string>> Client::service_account_token(std::string ns, std::string name,
                                                        std::string audience, std::chrono::seconds seconds,
                                                        Deadline deadline) {
    if (audience.empty())
        co_return fail(Errc::invalid, fmt::format("a token of ServiceAccount {}/{} requires an audience; "
                                                  "without one, it would be valid for the API server",
                                                  ns, name));
    Json body = {{"apiVersion", "authentication.k8s.io/v1"},
                 {"kind", "TokenRequest"},
                 {"spec", {{"audiences", Json::array({audience})}, {"expirationSeconds", seconds.count()}}}};
    const ObjectRef ref{service_accounts, std::move(ns), std::move(name), "token"};
    if (const auto sound = check(ref); !sound) co_return std::unexpected(sound.error());
    Request request("POST", path(ref));
    const std::string subject = request.subject();
    if (const auto set = request.set_body("application/json", body); !set)
        co_return std::unexpected(set.error());
    KEYSHEPHERD_CO_TRY(Json answer, co_await session_->send(std::move(request), deadline));
    std::string token;
    if (const auto status = answer.find("status"); status != answer.end() && status->is_object())
        token = text_at(*status, "token");
    wipe(answer);
    if (token.empty()) co_return fail(Errc::protocol, fmt::format("{}: the response has no token", subject));
    co_return token;
}

Task<result<std::string>> Client::server_version(Deadline deadline) {
    Request request("GET", "/version");
    KEYSHEPHERD_CO_TRY(const Json answer, co_await session_->send(std::move(request), deadline));
    std::string version = text_at(answer, "gitVersion");
    if (version.empty()) co_return fail(Errc::protocol, "GET /version: the response has no gitVersion");
    co_return version;
}

}  // namespace keyshepherd::kube
