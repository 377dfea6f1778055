#include "references.hpp"

#include "env_file.hpp"
#include "printable.hpp"

namespace keyshepherd::launcher {

bool is_reference(std::string_view value) {
    const std::string_view scheme = value.starts_with("vault:") ? "vault:" : "keyshepherd:";
    // As the injector has it (src/inject/annotations.cpp): vault://host#x, vault:8200/ui#x and what the
    // transit engine gives out (vault:v1:…) are an application's own.
    if (!value.starts_with(scheme)) return false;
    value.remove_prefix(scheme.size());
    if (value.starts_with("//")) return false;
    const std::string_view first = value.substr(0, value.find_first_of("/#"));
    const auto digits = [](std::string_view text) {
        return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
    };
    if (first.size() < value.size() && value[first.size()] == '/' && digits(first)) return false;
    const std::size_t colon = first.find(':');
    if (colon != std::string_view::npos && first.starts_with('v') && digits(first.substr(1, colon - 1)))
        return false;
    const std::size_t hash = value.find('#');
    return hash != std::string_view::npos && hash > 0 && hash + 1 < value.size();
}

Resolved resolve(std::span<const std::string_view> names, std::span<const EnvText> files) {
    Resolved out;
    out.values.resize(names.size());
    std::vector<const EnvText*> found_in(names.size(), nullptr);
    bool any_bad_file = false;

    for (const EnvText& file : files) {
        std::size_t still_wanted = names.size();
        std::vector<bool> here(names.size(), false);
        EnvFile entries(file.text);
        while (still_wanted > 0 && entries.next()) {
            for (std::size_t i = 0; i < names.size(); ++i) {
                if (here[i] || names[i] != entries.name()) continue;
                here[i] = true;
                --still_wanted;
                const std::string name = printable(names[i]);
                if (found_in[i]) {
                    // Which one is right cannot be known, and the order of two file names must not decide.
                    out.faults.push_back(name + " is defined in two files, " + found_in[i]->path + " and " +
                                         file.path);
                } else if (entries.value().empty()) {
                    out.faults.push_back("the value of " + name + " in " + file.path + " is empty");
                } else if (entries.value().find('\0') != std::string::npos) {
                    out.faults.push_back("the value of " + name + " in " + file.path +
                                         " contains a NUL byte, which an environment variable cannot hold");
                }
                found_in[i] = &file;
                out.values[i] = entries.value();
            }
        }
        // A bad line matters when a name is still looked for: it may stand behind it. That is kubelet's rule.
        if (const std::optional<EnvFault>& fault = entries.fault()) {
            any_bad_file = true;
            out.faults.push_back(file.path + ", line " + std::to_string(fault->line) + ": " + fault->reason);
        }
    }
    for (std::size_t i = 0; i < names.size(); ++i)
        if (!found_in[i] && !any_bad_file) out.missing.push_back(printable(names[i]));
    return out;
}

}  // namespace keyshepherd::launcher
