// Any JSON as a custom resource: it is read or refused; what is read can be planned, and planning against
// what it would write finds nothing to do.
#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/planner/plan.hpp>

#include <cstdint>
#include <cstdlib>

using keyshepherd::resources::Json;
namespace planner = keyshepherd::planner;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Json object = Json::parse(data, data + size, nullptr, false);
    const auto reading = keyshepherd::resources::read(object, "ai");
    if (!reading.faults.empty()) return 0;
    const auto& resource = reading.resource;
    if (resource.kind->name == "VaultConnection" || !resource.kind->in_vault) return 0;
    for (const std::string& path : planner::reads(resource))
        if (path.contains("..") || path.contains("//") || path.starts_with('/')) std::abort();
    const planner::Plan made = planner::plan(resource, {}, {.owner = true});
    if (made.verdict != planner::Verdict::create) std::abort();
    if (resource.kind->name == "VaultPolicy") {
        const std::string text = planner::policy_text(resource.spec);
        if (!planner::same_policy(text, text + "\n# by hand\n") && text.find("<<") == std::string::npos &&
            text.find("/*") == std::string::npos && text.find('"') == std::string::npos)
            std::abort();
        const planner::Observation held = {{planner::claim(resource), Json{{"policy", text}}}};
        if (planner::plan(resource, held, {.owner = true}).verdict != planner::Verdict::in_sync) std::abort();
        (void)planner::policy_difference(text, "");
    }
    return 0;
}
