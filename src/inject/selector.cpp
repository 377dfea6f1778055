#include <keyshepherd/inject/selector.hpp>

#include <algorithm>

namespace keyshepherd::inject {

namespace {

// As Kubernetes has it: what is said of a value's absence holds for the label's absence too.
bool holds(const Requirement& requirement, const std::string_view* value) {
    using enum Requirement::Operator;
    const bool is_one =
        value != nullptr && std::ranges::find(requirement.values, *value) != requirement.values.end();
    switch (requirement.op) {
        case in:
            return is_one;
        case not_in:
            return !is_one;
        case exists:
            return value != nullptr;
        case does_not_exist:
            return value == nullptr;
    }
    return false;
}

}  // namespace

Match match(const Selector& selector, std::string_view workload_namespace, const Labels* labels) {
    Match so_far = Match::yes;
    for (const Requirement& requirement : selector) {
        if (requirement.key == name_label) {
            if (!holds(requirement, &workload_namespace)) return Match::no;
        } else if (labels == nullptr) {
            so_far = Match::unknown;
        } else {
            const auto label = labels->find(requirement.key);
            const std::string_view value = label == labels->end() ? std::string_view() : label->second;
            if (!holds(requirement, label == labels->end() ? nullptr : &value)) return Match::no;
        }
    }
    return so_far;
}

std::string labels_of(const Selector& selector) {
    std::vector<std::string_view> keys;
    std::string text;
    for (const Requirement& requirement : selector) {
        if (requirement.key == name_label || std::ranges::find(keys, requirement.key) != keys.end()) continue;
        text += text.empty() ? "" : ", ";
        text += keys.emplace_back(requirement.key);
    }
    return text;
}

}  // namespace keyshepherd::inject
