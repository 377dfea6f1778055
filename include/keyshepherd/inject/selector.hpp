// What a selector says of a namespace, by its labels, as far as they are known.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::inject {

using Labels = std::map<std::string, std::string, std::less<>>;

// The label that the API server gives every namespace: its name. Nobody can change it.
inline constexpr std::string_view name_label = "kubernetes.io/metadata.name";

struct Requirement {
    enum class Operator { in, not_in, exists, does_not_exist };
    std::string key;
    Operator op = Operator::exists;
    std::vector<std::string> values = {};
};

using Selector = std::vector<Requirement>;  // every one of them holds

enum class Match { no, yes, unknown };

// `labels` null: nothing but the namespace's name is known. `unknown` only where the answer depends on a
// label that is not.
Match match(const Selector& selector, std::string_view workload_namespace, const Labels* labels);

// The labels that a selector asks for beside the name, "env, tier"; for messages.
std::string labels_of(const Selector& selector);

}  // namespace keyshepherd::inject
