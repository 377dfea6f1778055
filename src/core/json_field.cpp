#include <keyshepherd/core/json_field.hpp>

#include <nlohmann/json.hpp>

namespace keyshepherd {

const nlohmann::json& field_at(const nlohmann::json& object, std::string_view name) {
    static const nlohmann::json null;
    if (!object.is_object()) return null;
    const auto found = object.find(name);
    return found != object.end() ? *found : null;
}

std::string text_at(const nlohmann::json& object, std::string_view name) {
    const nlohmann::json& field = field_at(object, name);
    return field.is_string() ? field.get<std::string>() : std::string();
}

}  // namespace keyshepherd
