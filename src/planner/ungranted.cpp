#include <keyshepherd/planner/ungranted.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace keyshepherd::planner {

namespace {

// A deletion needs the grant, too. A mount goes with all that is in it: no message tells how.
std::string way_out(const resources::Resource& resource) {
    if (resource.kind->name == "VaultMount") return "To manage it again, grant it again";
    return fmt::format(
        "To remove it, grant it again, {}delete {} and then take the grant away",
        resource.spec.value("deletionPolicy", "") == "Retain" ? "set spec.deletionPolicy: Delete, " : "",
        resource.text());
}

const char* what_it_allows(std::string_view kind) {
    if (kind == "VaultPolicy") return "a token that has the policy may still do what it allows";
    if (kind == "VaultMount") return "what is in the mount is still served";
    return "a login to the role still gives tokens with its policies";
}

Condition condition(std::string message) {
    return {.type = std::string(still_in_vault),
            .truth = Truth::yes,
            .reason = "NotGranted",
            .message = std::move(message)};
}

}  // namespace

Condition ungranted_object(const resources::Resource& resource, std::string_view path) {
    return condition(fmt::format("{} is still in Vault as it was last written: {}. {}", path,
                                 what_it_allows(resource.kind->name), way_out(resource)));
}

Condition ungranted_secret_id(const resources::Resource& resource, std::string_view accessor) {
    return condition(
        fmt::format("the secret-id with accessor {} is still in Vault: it logs in until it expires, and is "
                    "not replaced. {}",
                    accessor, way_out(resource)));
}

Condition ungranted_objects(std::span<const std::string> objects) {
    constexpr std::size_t most_named = 10;
    const auto named = objects.first(std::min(objects.size(), most_named));
    return condition(
        fmt::format("no grant allows any more what {} made in Vault, and it is still there: {}{}",
                    objects.size() == 1 ? "a resource" : fmt::format("{} resources", objects.size()),
                    fmt::join(named, ", "), objects.size() > most_named ? ", …" : ""));
}

Condition left_objects(std::span<const std::string> objects) {
    constexpr std::size_t most_named = 10;
    const auto named = objects.first(std::min(objects.size(), most_named));
    return {
        .type = std::string(left_in_vault),
        .truth = Truth::yes,
        .reason = "NotRemoved",
        .message = fmt::format(
            "{} of deleted resources {} still in Vault: {}{}. A connection to this Vault that grants their "
            "namespace these names and mounts removes them",
            objects.size() == 1 ? "an object" : fmt::format("{} objects", objects.size()),
            objects.size() == 1 ? "is" : "are", fmt::join(named, ", "),
            objects.size() > most_named ? ", …" : "")};
}

bool is_still_in_vault(const Json& status) {
    const auto conditions = status.is_object() ? status.find("conditions") : status.end();
    return conditions != status.end() && conditions->is_array() &&
           std::ranges::any_of(*conditions, [](const Json& each) {
               return each.is_object() && each.value("type", "") == still_in_vault &&
                      each.value("status", "") == "True";
           });
}

}  // namespace keyshepherd::planner
