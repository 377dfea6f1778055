#include "env_file.hpp"

namespace keyshepherd::launcher {

namespace {

// Kubelet's line reader (Go's bufio.Scanner) holds 64 KiB and needs one byte of it to see that the line has
// ended.
constexpr std::size_t longest_line = 64 * 1024 - 1;

std::string_view without_blanks_before(std::string_view text) {
    const std::size_t first = text.find_first_not_of(" \t");
    return first == std::string_view::npos ? std::string_view() : text.substr(first);
}

}  // namespace

bool EnvFile::stop(std::size_t line, const char* reason) {
    fault_ = EnvFault{line, reason};
    rest_ = {};
    return false;
}

bool EnvFile::read_line() {
    if (rest_.empty()) return false;
    ++number_;
    const std::size_t end = rest_.find('\n');
    line_ = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    too_long_ = line_.size() > longest_line;
    if (line_.ends_with('\r')) line_.remove_suffix(1);  // one, and inside a value too, as kubelet does
    return !too_long_;
}

bool EnvFile::next() {
    while (!fault_ && read_line()) {
        const std::string_view line = without_blanks_before(line_);
        if (line.empty() || line.front() == '#') continue;

        const std::size_t equals = line.find('=');
        if (equals == std::string_view::npos) return stop(number_, "'=' is missing");
        name_ = line.substr(0, equals);
        if (name_.empty()) return stop(number_, "the name before '=' is missing");
        if (name_.back() == ' ' || name_.back() == '\t')
            return stop(number_, "a space before '=' is not allowed");

        value_.clear();
        std::string_view rest = line.substr(equals + 1);
        if (rest.starts_with(' ') || rest.starts_with('\t'))
            return true;  // a shell would assign nothing here, too
        if (!rest.starts_with('\'')) return stop(number_, "the value must be in single quotes");
        rest.remove_prefix(1);

        const std::size_t opened = number_;
        std::size_t quote = rest.find('\'');
        while (quote == std::string_view::npos) {
            value_.append(rest).push_back('\n');
            if (!read_line()) {
                if (too_long_) break;
                return stop(opened, "the closing quote is missing");
            }
            rest = line_;
            quote = rest.find('\'');
        }
        if (too_long_) break;
        value_.append(rest.substr(0, quote));
        const std::string_view behind = without_blanks_before(rest.substr(quote + 1));
        if (!behind.empty() && behind.front() != '#')
            return stop(number_,
                        "unexpected text after the closing quote (a value cannot contain a single quote)");
        return true;
    }
    if (too_long_ && !fault_) return stop(number_, "the line is 64 KiB or longer");
    return false;
}

}  // namespace keyshepherd::launcher
