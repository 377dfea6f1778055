// Which values of the annotations wiring, agent and on-rotate go together.
#pragma once

#include <keyshepherd/inject/annotations.hpp>

#include <string>

namespace keyshepherd::inject {

// The agent of a workload that has no annotation `agent`.
AgentMode default_agent(Wiring wiring);

// Why the combination is refused and what to use instead; "" for one that is accepted. `wiring` is what was
// chosen, never `automatic`.
std::string refusal(Wiring wiring, AgentMode agent, OnRotate on_rotate);

// Every combination that refusal() accepts, as Markdown: a part of annotation_reference().
std::string wiring_rules_reference();

}  // namespace keyshepherd::inject
