#include "layout.hpp"

#include <keyshepherd/inject/agent_config.hpp>
#include <keyshepherd/json/value.hpp>

namespace keyshepherd::inject {

namespace {

// The path in `{{ with secret "ai-apis/data/holysheep" }}`.
std::string_view path_in(std::string_view contents) {
    constexpr std::string_view call = "with secret \"";
    const std::size_t found = contents.find(call);
    if (found == std::string_view::npos) return {};
    contents.remove_prefix(found + call.size());
    return contents.substr(0, contents.find('"'));
}

}  // namespace

std::map<std::string, std::string> provider_paths(std::string_view agent_config) {
    constexpr std::string_view ending = ".env";
    std::map<std::string, std::string> paths;
    const auto config = json::parse(agent_config);
    const json::array* const templates = config ? json::find_array(*config, {"template"}) : nullptr;
    if (templates == nullptr) return paths;
    for (const json::value& each : *templates) {
        // agent.cpp names the file after the provider, and renders all variables in it from one path.
        std::string_view file = json::find_text(each, {"destination"});
        if (!file.starts_with(env_folder)) continue;
        file.remove_prefix(file.rfind('/') + 1);
        if (!file.ends_with(ending) || file == references_file) continue;
        file.remove_suffix(ending.size());
        if (const auto path = path_in(json::find_text(each, {"contents"})); !path.empty())
            paths.emplace(file, path);
    }
    return paths;
}

}  // namespace keyshepherd::inject
