#include <keyshepherd/planner/ungranted.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace keyshepherd::planner {

namespace {

using resources::KindId;

// A deletion needs the grant, too. A mount goes with all that is in it: no message tells how.
std::string way_out(const resources::Resource& resource) {
    if (resource.kind->id == KindId::vault_mount) return "To manage it again, restore the grant";
    return fmt::format(
        "To remove it, restore the grant, {}delete {}, and then remove the grant",
        resource.spec.value("deletionPolicy", "") == "Retain" ? "set spec.deletionPolicy: Delete, " : "",
        resource.text());
}

const char* what_it_allows(KindId kind) {
    if (kind == KindId::vault_policy) return "the policy is still in effect for tokens that have it";
    if (kind == KindId::vault_mount) return "Vault still serves the mount";
    return "clients can still log in to the role and get its policies";
}

constexpr std::size_t most_named = 10;  // in one message

std::string rest_text(std::size_t objects) {
    return objects > most_named ? fmt::format(", … ({} in total)", objects) : "";
}

Condition condition(std::string message) {
    return {.type = std::string(still_in_vault),
            .truth = Truth::yes,
            .reason = "NotGranted",
            .message = std::move(message)};
}

}  // namespace

Condition ungranted_object(const resources::Resource& resource, std::string_view path) {
    return condition(fmt::format("{} is still in Vault, unchanged: {}. {}", path,
                                 what_it_allows(resource.kind->id), way_out(resource)));
}

Condition ungranted_secret_id(const resources::Resource& resource, std::string_view accessor) {
    return condition(
        fmt::format("the secret-id with accessor {} is still in Vault. It stays valid until it expires, and "
                    "the operator does not replace it. {}",
                    accessor, way_out(resource)));
}

Condition ungranted_objects(std::span<const std::string> objects) {
    const auto named = objects.first(std::min(objects.size(), most_named));
    return condition(fmt::format("these resources still have objects in Vault that no grant allows: {}{}",
                                 fmt::join(named, ", "), rest_text(objects.size())));
}

Condition left_objects(std::span<const std::string> objects) {
    const auto named = objects.first(std::min(objects.size(), most_named));
    return {.type = std::string(left_in_vault),
            .truth = Truth::yes,
            .reason = "NotRemoved",
            .message =
                fmt::format("objects of deleted resources are still in Vault: {}{}. To remove them, grant "
                            "their names and mounts to their namespaces in a VaultConnection for this Vault",
                            fmt::join(named, ", "), rest_text(objects.size()))};
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
