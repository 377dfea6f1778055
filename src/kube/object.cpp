#include <keyshepherd/core/ascii.hpp>
#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/fsm/watch.hpp>
#include <keyshepherd/kube/object.hpp>

#include <algorithm>

namespace keyshepherd::kube {

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

std::map<std::string, std::string, std::less<>> labels(const Json& object) {
    std::map<std::string, std::string, std::less<>> labels;
    const auto metadata = object.find("metadata");
    if (metadata == object.end()) return labels;
    const auto given = metadata->find("labels");
    if (given == metadata->end() || !given->is_object()) return labels;
    for (const auto& [name, value] : given->items())
        if (value.is_string()) labels.emplace(name, value.get<std::string>());
    return labels;
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

void drop_managed_fields(std::string& text) {
    static constexpr std::string_view member = "\"managedFields\":[";
    std::size_t kept = 0;  // of the text so far, moved to its beginning
    std::size_t at = 0;
    for (std::size_t found = 0; (found = text.find(member, at)) != std::string::npos;) {
        std::size_t end = found + member.size();
        bool quoted = false;
        for (int depth = 1; end < text.size() && depth > 0; ++end) {
            const char c = text[end];
            if (quoted && c == '\\')
                ++end;
            else if (c == '"')
                quoted = !quoted;
            else if (!quoted && (c == '[' || c == ']'))
                depth += c == '[' ? 1 : -1;
        }
        end = std::min(end, text.size());
        std::size_t begin = found;
        if (end < text.size() && text[end] == ',')
            ++end;
        else if (begin > at && text[begin - 1] == ',')
            --begin;
        std::copy(text.data() + at, text.data() + begin, text.data() + kept);
        kept += begin - at;
        at = end;
    }
    if (at > 0) text.erase(kept, at - kept);
}

}  // namespace keyshepherd::kube
