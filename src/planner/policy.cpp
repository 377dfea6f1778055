#include <keyshepherd/planner/plan.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

namespace keyshepherd::planner {

namespace {

std::string quoted(const Json& list) {
    std::string text;
    for (const Json& element : list) {
        if (!text.empty()) text += ", ";
        text += '"' + element.get<std::string>() + '"';
    }
    return text;
}

// The words of a policy's HCL (https://github.com/hashicorp/hcl/tree/hcl1), without what means nothing.
class Words {
public:
    explicit Words(std::string_view text) : text_(text) {
        while (next()) {
        }
        finish_lists();
    }
    std::vector<std::string> words;

private:
    bool next() {
        while (at_ < text_.size() && (std::isspace(static_cast<unsigned char>(text_[at_])) != 0)) ++at_;
        if (at_ >= text_.size()) return false;
        const std::string_view rest = text_.substr(at_);
        if (rest.starts_with('#') || rest.starts_with("//")) {
            at_ = std::min(text_.size(), text_.find('\n', at_));
        } else if (rest.starts_with("/*")) {
            const std::size_t end = text_.find("*/", at_ + 2);
            at_ = end == std::string_view::npos ? text_.size() : end + 2;
        } else if (rest.starts_with('"')) {
            std::size_t end = at_ + 1;
            while (end < text_.size() && text_[end] != '"') end += text_[end] == '\\' ? 2 : 1;
            take(std::min(text_.size(), end + 1) - at_);
        } else if (rest.starts_with("<<")) {
            const std::size_t line = text_.find('\n', at_);
            std::string_view mark = rest.substr(2, line == std::string_view::npos ? line : line - at_ - 2);
            while (!mark.empty() && (mark.front() == '-' || mark.back() == '\r'))
                mark.front() == '-' ? mark.remove_prefix(1) : mark.remove_suffix(1);
            std::size_t end = line;
            while (end != std::string_view::npos) {
                const std::size_t start = text_.find_first_not_of(" \t", end + 1);
                if (start == std::string_view::npos) break;
                if (!mark.empty() && text_.substr(start).starts_with(mark)) {
                    end = start + mark.size();
                    break;
                }
                end = text_.find('\n', end + 1);
            }
            take(std::min(end, text_.size()) - at_);
        } else if (is_word(rest.front())) {
            std::size_t size = 1;
            while (size < rest.size() && is_word(rest[size])) ++size;
            take(size);
        } else {
            take(1);
        }
        return true;
    }

    static bool is_word(char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '-' ||
               c == '+';
    }

    void take(std::size_t size) {
        std::string word(text_.substr(at_, size));
        std::erase(word, '\r');
        words.push_back(std::move(word));
        at_ += size;
    }

    // The order in a list of capabilities or values means nothing, and neither does a comma at its end.
    void finish_lists() {
        for (std::size_t open = 0; open < words.size(); ++open) {
            if (words[open] != "[") continue;
            std::size_t close = open + 1;
            while (close < words.size() && words[close] != "]" && words[close] != "[") ++close;
            if (close == words.size() || words[close] != "]") continue;
            std::vector<std::string> elements;
            for (std::size_t i = open + 1; i < close; ++i)
                if (words[i] != ",") elements.push_back(words[i]);
            std::ranges::sort(elements);
            elements.erase(std::ranges::unique(elements).begin(), elements.end());
            words.erase(words.begin() + static_cast<std::ptrdiff_t>(open) + 1,
                        words.begin() + static_cast<std::ptrdiff_t>(close));
            words.insert(words.begin() + static_cast<std::ptrdiff_t>(open) + 1, elements.begin(),
                         elements.end());
        }
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

// Path → what stands in its block, as words. Empty when the text is not a plain list of path blocks.
std::map<std::string, std::string> blocks(std::string_view text) {
    const std::vector<std::string> words = Words(text).words;
    std::map<std::string, std::string> found;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (words[i] != "path" || i + 2 >= words.size() || words[i + 2] != "{") return {};
        const std::string path =
            words[i + 1].size() > 1 ? words[i + 1].substr(1, words[i + 1].size() - 2) : words[i + 1];
        std::string& block = found[path];
        int depth = 1;
        for (i += 3; i < words.size(); ++i) {
            if (words[i] == "{") ++depth;
            if (words[i] == "}" && --depth == 0) break;
            if (words[i] == "capabilities" && i + 1 < words.size() && words[i + 1] == "=") {
                ++i;  // what nearly every block is about needs no name
                continue;
            }
            if (words[i] == "[" || words[i] == "]" || words[i] == ",") continue;
            const bool quotes = words[i].size() > 1 && words[i].front() == '"';
            block +=
                (block.empty() ? "" : " ") + (quotes ? words[i].substr(1, words[i].size() - 2) : words[i]);
        }
        if (depth != 0) return {};
    }
    return found;
}

}  // namespace

std::string policy_difference(std::string_view before, std::string_view after) {
    const auto old = blocks(before);
    const auto made = blocks(after);
    std::string text;
    if ((old.empty() && !before.empty()) || (made.empty() && !after.empty())) return "policy";
    const auto add = [&text](const std::string& path, const std::string& from, const std::string& to) {
        text += fmt::format("{}path {}: {} → {}", text.empty() ? "" : ", ", path, from, to);
    };
    for (const auto& [path, block] : old)
        if (const auto at = made.find(path); at == made.end())
            add(path, block, "absent");
        else if (at->second != block)
            add(path, block, at->second);
    for (const auto& [path, block] : made)
        if (!old.contains(path)) add(path, "absent", block);
    return text.empty() ? "policy" : text;
}

std::string policy_text(const Json& policy_spec) {
    if (const auto hcl = policy_spec.find("hcl"); hcl != policy_spec.end()) return hcl->get<std::string>();
    std::string text;
    for (const Json& rule : policy_spec.at("rules")) {
        if (!text.empty()) text += '\n';
        text += fmt::format("path \"{}\" {{\n  capabilities = [{}]\n", rule.at("path").get<std::string>(),
                            quoted(rule.at("capabilities")));
        if (const auto names = rule.find("requiredParameters"); names != rule.end())
            text += fmt::format("  required_parameters = [{}]\n", quoted(*names));
        for (const auto& [field, name] : {std::pair("minWrappingTTL", "min_wrapping_ttl"),
                                          std::pair("maxWrappingTTL", "max_wrapping_ttl")})
            if (const auto ttl = rule.find(field); ttl != rule.end())
                text += fmt::format("  {} = \"{}s\"\n", name, resources::seconds_of(*ttl).value_or(0));
        text += "}\n";
    }
    return text;
}

bool same_policy(std::string_view a, std::string_view b) {
    return a == b || Words(a).words == Words(b).words;
}

}  // namespace keyshepherd::planner
