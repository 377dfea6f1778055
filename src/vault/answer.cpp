#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/core/text.hpp>
#include <keyshepherd/net/client.hpp>
#include <keyshepherd/vault/answer.hpp>

#include <fmt/format.h>

#include <charconv>

namespace keyshepherd::vault {

namespace {

using nlohmann::json;

constexpr std::chrono::hours longest_wait{1};

// What a text says that the status does not. Seen on OpenBao 2.7 and in Vault's sources.
constexpr struct {
    int status;  // 0: any
    std::string_view text;
    Errc code;
} texts[] = {
    {400, "check-and-set parameter did not match", Errc::conflict},
    {400, "path is already in use", Errc::conflict},
    {403, "invalid token", Errc::unauthorized},
    {403, "bad token", Errc::unauthorized},
    // Of another role: for the role that was named it is gone.
    {403, "invalid secret id accessor", Errc::not_found},
    {0, "failed to find accessor entry", Errc::not_found},
    {0, "invalid accessor", Errc::not_found},  // of a token
    {400, "entity not found from id", Errc::not_found},
    {400, "\" does not exist", Errc::not_found},
    {500, "\" does not exist", Errc::not_found},
    {500, "is already registered", Errc::conflict},
    {500, "role_id already in use", Errc::conflict},
    {500, "at least one constraint should be enabled", Errc::invalid},
    {500, "failed to validate CIDR", Errc::invalid},
    {500, "invalid CIDR address", Errc::invalid},
    {500, "should be a subset of CIDR blocks", Errc::invalid},
    {500, "failed to verify subset relationship", Errc::invalid},
};

// The whole text, because a refusal may quote what a tenant wrote, such as a policy that does not parse.
constexpr int tokenless_status = 400;
constexpr std::string_view tokenless_text = "missing client token";

// Vault's answer to a LIST of secret-ids while another request destroys one of them. OpenBao leaves it out.
constexpr int moving_status = 500;
constexpr std::string_view moving_text =
    "storage entry for SecretID is present but no content found at the index";

// What a sealed server answers to every request but those about its state.
constexpr int sealed_status = 503;
constexpr std::string_view sealed_text = "Vault is sealed";

Errc code_of(int status, std::string_view text) {
    if (status == tokenless_status && text == tokenless_text) return Errc::unauthorized;
    for (const auto& each : texts)
        if ((each.status == 0 || each.status == status) && text.find(each.text) != std::string_view::npos)
            return each.code;
    switch (status) {
        case 401:
            return Errc::unauthorized;
        case 403:
            return Errc::forbidden;
        case 404:
            return Errc::not_found;
        case 409:
            return Errc::conflict;
        case 429:
            return Errc::throttled;
        case 307:  // to the active server of a cluster
        case 412:  // a standby that has not caught up yet
        case 472:
        case 473:
        case 474:
            return Errc::unavailable;
        default:
            break;
    }
    if (status >= 500 && status < 600) return Errc::unavailable;
    if (status >= 400 && status < 500) return Errc::invalid;
    return Errc::protocol;
}

// On one line, without the frame that Go's multierror puts around it, and short.
std::string tidy(std::string_view text) {
    static constexpr std::size_t longest = 400;
    if (const auto frame = text.find(" occurred:"); frame < 16) text.remove_prefix(frame + 10);
    if (const auto item = text.find_first_not_of(" \t\n*"); item != std::string_view::npos)
        text.remove_prefix(item);
    else
        text = {};
    return one_line(text, longest);
}

std::string errors_of(const json& document) {
    const auto errors = document.find("errors");
    std::string all;
    if (errors == document.end() || !errors->is_array()) return all;
    for (const json& each : *errors) {
        if (!each.is_string()) continue;
        if (!all.empty()) all += "; ";
        all += tidy(each.get_ref<const std::string&>());
    }
    return all;
}

std::string_view explanation(int status, std::string_view text) {
    if (status == 404 && text.starts_with("no handler for route")) return " (no mount at this path)";
    if (status == 404 && text == "unsupported path") return " (the mount does not support this path)";
    if (status == 307)
        return "this server is a standby and redirects to another server; use the address of the active node";
    if (status == 405) return " (the server may have an unsupported version)";
    return "";
}

}  // namespace

result<std::optional<json>> read_answer(Question question, int status, std::string_view body,
                                        std::string_view retry_after, const json::parser_callback_t& keep) {
    const auto refuse = [&](Errc code, std::string_view text) {
        // The query may be long, and says little.
        Error error(code, fmt::format("{} {}: Vault returned {}{}{}{}", question.method,
                                      question.path.substr(0, question.path.find('?')), status,
                                      text.empty() && explanation(status, text).empty() ? "" : ": ", text,
                                      explanation(status, text)));
        error.retry_after = net::retry_after(retry_after, longest_wait).value_or(std::chrono::seconds(0));
        if (status == sealed_status && text == sealed_text) error.detail = Detail::sealed;
        if (status == moving_status && text == moving_text) error.detail = Detail::list_changed;
        return std::unexpected(std::move(error));
    };
    json document = json::parse(body, keep, false);
    const bool readable = document.is_object();
    if (status >= 200 && status < 300) {
        if (readable) return document;
        if (body.find_first_not_of(" \r\n\t") == std::string_view::npos) return json::object();
        return refuse(Errc::protocol, "not a JSON object");
    }
    if (!readable) {
        // Of a proxy: it says nothing about what was asked for.
        if (status == 404)
            return refuse(Errc::protocol,
                          "not a JSON object; check that this is the address of a Vault server");
        return refuse(code_of(status, ""), "");
    }
    if (status == 404) {
        const auto data = document.find("data");
        if (data != document.end() && data->is_object()) {
            // An accessor that is unknown; or a deleted version of KV v2.
            if (const auto error = data->find("error"); error != data->end() && error->is_string())
                return refuse(Errc::not_found, tidy(error->get_ref<const std::string&>()));
            return document;
        }
        const auto errors = document.find("errors");
        if (errors != document.end() && errors->is_array() && errors->empty()) return std::nullopt;
    }
    std::string text = errors_of(document);
    // KV v2 says in a warning alone that a path is one of KV v1.
    if (text.empty())
        if (const auto said = warnings(document); !said.empty()) text = said.front();
    return refuse(code_of(status, text), text);
}

std::vector<std::string> warnings(const json& document) {
    std::vector<std::string> all;
    const auto found = document.find("warnings");
    if (found == document.end() || !found->is_array()) return all;
    for (const json& each : *found)
        if (each.is_string()) all.push_back(tidy(each.get_ref<const std::string&>()));
    return all;
}

std::optional<std::set<std::string>> parameters(const json& document) {
    const auto at = [](const json* object, std::string_view name) -> const json* {
        if (object == nullptr || !object->is_object()) return nullptr;
        const auto found = object->find(name);
        return found == object->end() ? nullptr : &*found;
    };
    const json* api = at(&document, "openapi");
    const json* paths = at(api, "paths");
    // The one path that the question was about.
    if (paths == nullptr || !paths->is_object() || paths->size() != 1) return std::nullopt;
    const json* schema = &*paths->begin();
    for (const char* step : {"post", "requestBody", "content", "application/json", "schema"})
        schema = at(schema, step);
    if (const json* reference = at(schema, "$ref"); reference != nullptr && reference->is_string()) {
        const auto& text = reference->get_ref<const std::string&>();
        schema = at(at(at(api, "components"), "schemas"), text.substr(text.rfind('/') + 1));
    }
    const json* properties = at(schema, "properties");
    if (properties == nullptr || !properties->is_object()) return std::nullopt;
    std::set<std::string> names;
    for (const auto& property : properties->items()) names.insert(property.key());
    return names;
}

namespace {

// What the version says where sys/health has no `enterprise`: 1.15.0 and 1.15.0+ent of Vault, 2.7.2 of
// OpenBao.
bool version_has_namespaces(std::string_view version) {
    if (version.contains("+ent")) return true;
    int major = 0;
    const auto [rest, fault] = std::from_chars(version.data(), version.data() + version.size(), major);
    if (fault != std::errc{} || rest == version.data() + version.size() || *rest != '.') return true;
    int minor = 0;
    std::from_chars(rest + 1, version.data() + version.size(), minor);
    return major > 2 || (major == 2 && minor >= 3);
}

}  // namespace

result<Health> read_health(int status, std::string_view body) {
    const json document = json::parse(body, nullptr, false);
    const auto flag = [&](const char* name) -> std::optional<bool> {
        const auto found = document.find(name);
        if (found == document.end() || !found->is_boolean()) return std::nullopt;
        return found->get<bool>();
    };
    const auto initialized = document.is_object() ? flag("initialized") : std::nullopt;
    const auto sealed = document.is_object() ? flag("sealed") : std::nullopt;
    if (!initialized || !sealed)
        return fail(Errc::unavailable,
                    fmt::format("GET sys/health: returned {} without the health of a Vault server; check "
                                "that this is the address of a Vault server",
                                status));
    Health health;
    health.initialized = *initialized;
    health.sealed = *sealed;
    health.standby = flag("standby").value_or(false);
    health.version = text_at(document, "version");
    health.cluster_id = text_at(document, "cluster_id");
    health.has_namespaces = flag("enterprise").value_or(version_has_namespaces(health.version));
    if (const auto time = document.find("server_time_utc");
        time != document.end() && time->is_number_integer())
        health.time = time->get<std::int64_t>();
    return health;
}

Error unusable(const Health& health) {
    Error error(Errc::unavailable,
                health.initialized ? "Vault is sealed" : "Vault is not initialized; run vault operator init");
    if (health.initialized) error.detail = Detail::sealed;
    return error;
}

}  // namespace keyshepherd::vault
