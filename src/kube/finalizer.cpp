#include <keyshepherd/kube/finalizer.hpp>

#include <algorithm>
#include <string>

namespace keyshepherd::kube {

namespace {

constexpr const char* pointer = "/metadata/finalizers";

Json list_of(const Json& object) {
    const auto found = object.find("metadata");
    if (found == object.end() || !found->is_object()) return nullptr;
    const auto list = found->find("finalizers");
    return list != found->end() && list->is_array() ? *list : Json();
}

// The same name may be another object by now.
void test_identity(Json& patch, const Json& object) {
    if (const std::string uid = metadata(object).uid; !uid.empty())
        patch.push_back({{"op", "test"}, {"path", "/metadata/uid"}, {"value", uid}});
}

}  // namespace

bool has_finalizer(const Json& object, std::string_view finalizer) {
    return std::ranges::count(metadata(object).finalizers, finalizer) > 0;
}

std::optional<Json> add_finalizer(const Json& object, std::string_view finalizer) {
    if (has_finalizer(object, finalizer)) return std::nullopt;
    const Json list = list_of(object);
    Json patch = Json::array();
    test_identity(patch, object);
    patch.push_back({{"op", "test"}, {"path", pointer}, {"value", list}});  // null is also "absent"
    if (list.is_array())
        patch.push_back({{"op", "add"}, {"path", std::string(pointer) + "/-"}, {"value", finalizer}});
    else
        patch.push_back({{"op", "add"}, {"path", pointer}, {"value", Json::array({finalizer})}});
    return patch;
}

std::optional<Json> remove_finalizer(const Json& object, std::string_view finalizer) {
    const Json list = list_of(object);
    const auto found = std::ranges::find(list, Json(finalizer));
    if (!list.is_array() || found == list.end()) return std::nullopt;
    Json patch = Json::array();
    test_identity(patch, object);
    patch.push_back({{"op", "test"}, {"path", pointer}, {"value", list}});
    patch.push_back(
        {{"op", "remove"}, {"path", std::string(pointer) + '/' + std::to_string(found - list.begin())}});
    return patch;
}

}  // namespace keyshepherd::kube
