#include "wiring_rules.hpp"

#include <fmt/format.h>

namespace keyshepherd::inject {

AgentMode default_agent(Wiring wiring) {
    return wiring == Wiring::secret ? AgentMode::none : AgentMode::sidecar;
}

std::string refusal(Wiring wiring, AgentMode agent, OnRotate on_rotate) {
    if (wiring == Wiring::secret && agent != AgentMode::none)
        return fmt::format("wiring secret runs no agent; remove agent {}, or use envfile, exec or file",
                           text(agent));
    if (wiring != Wiring::secret && agent == AgentMode::none)
        return fmt::format("wiring {} needs an agent; use agent sidecar or init", text(wiring));
    switch (on_rotate) {
        case OnRotate::by_wiring:
        case OnRotate::rollout:
        case OnRotate::none:
            return "";
        case OnRotate::restart:
        case OnRotate::signal:
            return fmt::format(
                "on-rotate {} is not supported with wiring {}, because keyshepherd does not supervise the "
                "process; use rollout or none",
                text(on_rotate), text(wiring));
    }
    return "";
}

std::string wiring_rules_reference() {
    std::string page =
        "## Wiring, agent and on-rotate\n\n"
        "The webhook accepts only these combinations. `auto` selects `envfile` or `exec`.\n\n"
        "| wiring | agent | on-rotate |\n"
        "|---|---|---|\n";
    for (const Wiring wiring : {Wiring::envfile, Wiring::exec, Wiring::file, Wiring::secret})
        for (const AgentMode agent : {AgentMode::sidecar, AgentMode::init, AgentMode::none}) {
            std::string accepted;
            for (const OnRotate on_rotate :
                 {OnRotate::rollout, OnRotate::restart, OnRotate::signal, OnRotate::none})
                if (refusal(wiring, agent, on_rotate).empty())
                    accepted += fmt::format("{}`{}{}`", accepted.empty() ? "" : ", ", text(on_rotate),
                                            on_rotate == OnRotate::signal ? ":NAME" : "");
            if (!accepted.empty())
                page += fmt::format("| `{}` | `{}`{} | {} |\n", text(wiring), text(agent),
                                    agent == default_agent(wiring) ? " (default)" : "", accepted);
        }
    return page;
}

}  // namespace keyshepherd::inject
