
#include <keyshepherd/core/base64.hpp>
#include <keyshepherd/core/text.hpp>
#include <keyshepherd/planner/plan.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <map>

namespace keyshepherd::planner {

namespace {

std::string quoted(const Json& list) {
    std::string text;
    for (const Json& element : list) {
        if (!text.empty()) text += ", ";
        text += hcl_string(element.get_ref<const std::string&>());
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
            take(string_end() - at_);
        } else if (rest.starts_with("<<")) {
            take(heredoc_end() - at_);
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

    // Inside ${…} a quote does not end the string (hcl/scanner/scanner.go, scanString).
    std::size_t string_end() const {
        int braces = 0;
        for (std::size_t end = at_ + 1; end < text_.size(); ++end) {
            const char c = text_[end];
            if (c == '\\') {
                ++end;
            } else if (braces == 0) {
                if (c == '"') return end + 1;
                if (text_.substr(end).starts_with("${")) {
                    braces = 1;
                    ++end;
                }
            } else if (c == '{') {
                ++braces;
            } else if (c == '}') {
                --braces;
            }
        }
        return text_.size();
    }

    // A heredoc ends with a line that is its mark and nothing else, but for white space before it.
    std::size_t heredoc_end() const {
        std::size_t line_end = std::min(text_.find('\n', at_), text_.size());
        std::string_view mark = text_.substr(at_ + 2, line_end - at_ - 2);
        if (mark.starts_with('-')) mark.remove_prefix(1);
        while (mark.ends_with('\r')) mark.remove_suffix(1);
        while (line_end < text_.size()) {
            const std::size_t start = line_end + 1;
            line_end = std::min(text_.find('\n', start), text_.size());
            std::string_view line = text_.substr(start, line_end - start);
            while (line.ends_with('\r')) line.remove_suffix(1);
            const std::size_t blanks = std::min(line.find_first_not_of(" \t"), line.size());
            if (line.substr(blanks) == mark) return start + line.size();
        }
        return text_.size();
    }

    // A line may end with CR LF.
    void take(std::size_t size) {
        std::string word;
        for (const std::string_view taken = text_.substr(at_, size); const char c : taken) {
            if (c == '\n' && word.ends_with('\r')) word.pop_back();
            word += c;
        }
        words.push_back(std::move(word));
        at_ += size;
    }

    // In a list of words, as of capabilities or values, neither the order means anything nor how often one
    // stands there. A list that holds objects or lists, as JSON writes blocks, stays as it is. A comma at the
    // end means nothing in either.
    void finish_lists() {
        std::vector<std::string> finished;
        finished.reserve(words.size());
        std::size_t open = 0;      // behind the last [ in `finished`
        bool is_of_words = false;  // since then
        for (std::string& word : words) {
            if (word == "[") {
                finished.push_back(std::move(word));
                open = finished.size();
                is_of_words = true;
                continue;
            }
            if (word == "]") {
                if (!finished.empty() && finished.back() == ",") finished.pop_back();
                if (is_of_words) sort_list(finished, open);
                is_of_words = false;
            } else if (word == "{" || word == "}" || word == "=" || word == ":") {
                is_of_words = false;
            }
            finished.push_back(std::move(word));
        }
        words = std::move(finished);
    }

    static void sort_list(std::vector<std::string>& list, std::size_t from) {
        const auto begin = list.begin() + static_cast<std::ptrdiff_t>(from);
        list.erase(std::remove(begin, list.end(), ","), list.end());
        std::sort(begin, list.end());
        list.erase(std::unique(begin, list.end()), list.end());
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

std::string hcl_string(std::string_view text) {
    std::string out = "\"";
    while (!text.empty()) {
        const std::size_t length = sequence_length(text);
        const std::string_view sequence = text.substr(0, std::max<std::size_t>(length, 1));
        const char32_t character = length == 0 ? U'\uFFFD' : character_of(sequence);
        if (character == U'"' || character == U'\\')
            out += fmt::format("\\{}", sequence);
        else if (character == U'\n')
            out += "\\n";
        else if (length == 0 || character < 0x20 || character == 0x7F || text.starts_with("${") ||
                 is_deceptive(character))
            out += character < 0x10000 ? fmt::format("\\u{:04x}", static_cast<std::uint32_t>(character))
                                       : fmt::format("\\U{:08x}", static_cast<std::uint32_t>(character));
        else
            out += sequence;
        text.remove_prefix(sequence.size());
    }
    return out + '"';
}

std::string policy_text(const Json& policy_spec) {
    if (const auto hcl = policy_spec.find("hcl"); hcl != policy_spec.end()) {
        const auto& text = hcl->get_ref<const std::string&>();
        return decode_base64(text).value_or(text);
    }
    std::string text;
    for (const Json& rule : policy_spec.at("rules")) {
        if (!text.empty()) text += '\n';
        text += fmt::format("path {} {{\n  capabilities = [{}]\n",
                            hcl_string(rule.at("path").get_ref<const std::string&>()),
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
