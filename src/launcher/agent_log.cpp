#include "agent_log.hpp"

#include "printable.hpp"

namespace keyshepherd::launcher {

namespace {

// HashiCorp's agent writes this warning below each error of a template. The error says why.
constexpr std::string_view retry_notice = "template server restart: retry attempt after";

bool is_complaint(std::string_view line) {
    if (line.find(retry_notice) != std::string_view::npos) return false;
    for (const std::string_view mark : {"[ERR", "[WARN", "\"@level\":\"error\"", "\"@level\":\"warn\""})
        if (line.find(mark) != std::string_view::npos) return true;
    return false;
}

std::string_view trimmed(std::string_view text, std::string_view what) {
    const std::size_t first = text.find_first_not_of(what);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(what) - first + 1);
}

}  // namespace

std::string last_words(std::string_view tail, bool from_start) {
    // A read that began in the middle of a line sees a piece of it, unless there is nothing else to show.
    if (const std::size_t end = tail.find('\n');
        !from_start && end != std::string_view::npos && end + 1 < tail.size())
        tail.remove_prefix(end + 1);

    // The agent's text log puts Vault's answer on lines of its own below the entry, indented:
    //     … [ERROR] agent.auth.handler: error authenticating:
    //       error=
    //       | Error making API request.
    //       | * permission denied
    // Without them the entry says nothing, so they are joined to it.
    std::string entry, complaint;
    auto finish = [&] {
        if (is_complaint(entry)) complaint = entry;
    };
    while (!tail.empty()) {
        const std::size_t end = tail.find('\n');
        const std::string_view line = tail.substr(0, end);
        tail.remove_prefix(end == std::string_view::npos ? tail.size() : end + 1);
        const std::string_view text = trimmed(line, " \t\r|");
        if (text.empty()) continue;
        const bool continues_entry = !entry.empty() && (line.front() == ' ' || line.front() == '\t');
        if (continues_entry) {
            entry.append(" ").append(text);
        } else {
            finish();
            entry = trimmed(line, " \t\r");
        }
    }
    finish();
    return printable(complaint.empty() ? entry : complaint);
}

}  // namespace keyshepherd::launcher
