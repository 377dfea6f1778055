// Names of Kubernetes objects, their URLs, and what their metadata says.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace keyshepherd::kube {

using Json = nlohmann::json;

struct Resource {
    std::string group;  // empty for the core group
    std::string version;
    std::string plural;
    bool namespaced = true;

    bool operator==(const Resource&) const = default;
    auto operator<=>(const Resource&) const = default;
};

struct ObjectRef {
    Resource resource;
    std::string ns;  // empty when not namespaced
    std::string name;
    std::string subresource = {};  // "status", "token"; empty: the object itself

    bool operator==(const ObjectRef&) const = default;
    auto operator<=>(const ObjectRef&) const = default;
};

// "/apis/apps/v1/namespaces/default/deployments"; an empty `ns` is every namespace.
std::string path(const Resource& resource, std::string_view ns);
// "/api/v1/namespaces/default/serviceaccounts/app/token". Every name is percent-encoded.
std::string path(const ObjectRef& ref);

struct Metadata {
    std::string name;
    std::string ns;
    std::string uid;
    std::string resource_version;
    std::int64_t generation = 0;
    std::string deletion_timestamp;  // empty: not being deleted
    std::vector<std::string> finalizers;
};

// What is missing, or of another type, is empty.
Metadata metadata(const Json& object);

// Those that are text.
std::map<std::string, std::string, std::less<>> labels(const Json& object);

// "namespace/name", or "name" in no namespace; as client-go writes it.
std::string key(const Json& object);
std::string key(std::string_view ns, std::string_view name);
std::pair<std::string, std::string> split_key(std::string_view key);  // namespace, name

// Takes every list `managedFields` out of the text of objects, as the API server writes it: half of it is
// that, and nobody here reads it. Within a text of the document the quote before the colon would be escaped,
// so what is found is a member.
void drop_managed_fields(std::string& text);

}  // namespace keyshepherd::kube
