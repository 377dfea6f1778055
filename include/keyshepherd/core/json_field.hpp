// Fields of JSON that another program wrote: a field that is absent or of another type reads as empty.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>

namespace keyshepherd {

// The field of an object, or null; null for what is no object. Valid as long as `object`.
const nlohmann::json& field_at(const nlohmann::json& object, std::string_view name);

// The text of a field, or "".
std::string text_at(const nlohmann::json& object, std::string_view name);

}  // namespace keyshepherd
