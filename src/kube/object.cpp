#include <keyshepherd/fsm/watch.hpp>
#include <keyshepherd/kube/object.hpp>

namespace keyshepherd::kube {

namespace {

std::string text_at(const Json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

std::string percent_encode(std::string_view text) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string encoded;
    encoded.reserve(text.size());
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                           c == '-' || c == '.' || c == '_' || c == '~';
        if (plain) {
            encoded += c;
            continue;
        }
        const auto byte = static_cast<unsigned char>(c);
        encoded += '%';
        encoded += digits[byte >> 4];
        encoded += digits[byte & 15];
    }
    return encoded;
}

std::string path(const Resource& resource, std::string_view ns) {
    std::string url = resource.group.empty() ? "/api/" : "/apis/" + percent_encode(resource.group) + '/';
    url += percent_encode(resource.version);
    if (resource.namespaced && !ns.empty()) url += "/namespaces/" + percent_encode(ns);
    return url + '/' + percent_encode(resource.plural);
}

std::string path(const ObjectRef& ref) {
    std::string url = path(ref.resource, ref.ns) + '/' + percent_encode(ref.name);
    if (!ref.subresource.empty()) url += '/' + percent_encode(ref.subresource);
    return url;
}

Metadata metadata(const Json& object) {
    Metadata data;
    if (!object.is_object()) return data;
    const auto found = object.find("metadata");
    if (found == object.end() || !found->is_object()) return data;
    data.name = text_at(*found, "name");
    data.ns = text_at(*found, "namespace");
    data.uid = text_at(*found, "uid");
    data.resource_version = text_at(*found, "resourceVersion");
    data.deletion_timestamp = text_at(*found, "deletionTimestamp");
    if (const auto generation = found->find("generation");
        generation != found->end() && generation->is_number_integer())
        data.generation = generation->get<std::int64_t>();
    if (const auto list = found->find("finalizers"); list != found->end() && list->is_array())
        for (const Json& each : *list)
            if (each.is_string()) data.finalizers.push_back(each.get<std::string>());
    return data;
}

std::string key(const Json& object) {
    return fsm::object_key(object);
}

std::string key(std::string_view ns, std::string_view name) {
    std::string joined(ns);
    if (!ns.empty()) joined += '/';
    return joined.append(name);
}

std::pair<std::string, std::string> split_key(std::string_view key) {
    const auto slash = key.find('/');
    if (slash == std::string_view::npos) return {"", std::string(key)};
    return {std::string(key.substr(0, slash)), std::string(key.substr(slash + 1))};
}

}  // namespace keyshepherd::kube
