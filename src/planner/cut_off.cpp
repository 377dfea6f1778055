#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/planner/cut_off.hpp>

#include <algorithm>

namespace keyshepherd::planner {

RoleEntity role_entity(const Json& data, std::string_view role_id) {
    RoleEntity entity{.id = text_at(data, "id")};
    if (entity.id.empty()) return entity;
    const auto aliases = data.find("aliases");
    entity.shared =
        aliases == data.end() || !aliases->is_array() ||
        std::ranges::none_of(*aliases, [&](const Json& alias) { return text_at(alias, "name") == role_id; });
    return entity;
}

bool may_issue_batch_tokens(const Json& role, const Json& mount) {
    const std::string of_mount =
        mount.is_object() && mount.contains("config") ? text_at(mount["config"], "token_type") : "";
    if (of_mount == "service") return false;
    if (of_mount == "batch") return true;
    const std::string of_role = text_at(role, "token_type");
    if (of_role == "batch" || of_role == "default-batch") return true;
    return of_mount == "default-batch" && (of_role.empty() || of_role == "default");
}

}  // namespace keyshepherd::planner
