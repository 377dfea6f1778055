#include "unified_diff.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <vector>

namespace keyshepherd::app {

namespace {

// With their line breaks, so that a missing one at the end is a difference.
std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        const std::size_t newline = text.find('\n');
        const std::size_t size = newline == std::string_view::npos ? text.size() : newline + 1;
        lines.push_back(text.substr(0, size));
        text.remove_prefix(size);
    }
    return lines;
}

struct Step {
    char mark;
    std::size_t line;  // index, in the old text or for '+' in the new one
};

// E. Myers, "An O(ND) difference algorithm and its variations", 1986: the greedy form. Past `most` edits,
// which two versions of a manifest do not have, everything is replaced.
std::vector<Step> steps_between(const std::vector<std::string_view>& from,
                                const std::vector<std::string_view>& to) {
    constexpr long most = 4'000;
    const long n = static_cast<long>(from.size());
    const long m = static_cast<long>(to.size());
    const auto at = [](const auto& lines, long i) { return lines[static_cast<std::size_t>(i)]; };
    std::vector<std::vector<long>> trace;  // for each d: the furthest x on the diagonals -d..d
    bool found = false;
    for (long d = 0; d <= std::min(n + m, most) && !found; ++d) {
        std::vector<long> row(static_cast<std::size_t>(2 * d + 1));
        for (long k = -d; k <= d; k += 2) {
            const auto before = [&](long diagonal) {  // of d - 1
                const long i = diagonal + d - 1;
                return i < 0 || i > 2 * (d - 1) ? -1 : trace.back()[static_cast<std::size_t>(i)];
            };
            long x = d == 0                                                 ? 0
                     : k == -d || (k != d && before(k - 1) < before(k + 1)) ? before(k + 1)
                                                                            : before(k - 1) + 1;
            while (x < n && x - k < m && x - k >= 0 && at(from, x) == at(to, x - k)) ++x;
            row[static_cast<std::size_t>(k + d)] = x;
            found = found || (x >= n && x - k >= m);
        }
        trace.push_back(std::move(row));
    }
    std::vector<Step> steps;
    const auto step = [&](char mark, long line) { steps.push_back({mark, static_cast<std::size_t>(line)}); };
    if (!found) {
        for (long x = 0; x < n; ++x) step('-', x);
        for (long y = 0; y < m; ++y) step('+', y);
        return steps;
    }
    long x = n;
    long y = m;
    for (long d = static_cast<long>(trace.size()) - 1; d > 0; --d) {
        const std::vector<long>& row = trace[static_cast<std::size_t>(d - 1)];
        const auto before = [&](long diagonal) {
            const long i = diagonal + d - 1;
            return i < 0 || i > 2 * (d - 1) ? -1 : row[static_cast<std::size_t>(i)];
        };
        const long k = x - y;
        const bool down = k == -d || (k != d && before(k - 1) < before(k + 1));
        const long from_x = before(down ? k + 1 : k - 1);
        const long from_y = from_x - (down ? k + 1 : k - 1);
        for (; x > from_x + (down ? 0 : 1) && y > from_y + (down ? 1 : 0); --y) step(' ', --x);
        if (down) {
            step('+', --y);
        } else {
            step('-', --x);
        }
    }
    while (x > 0) step(' ', --x);
    std::ranges::reverse(steps);
    return steps;
}

// `../deploy.yaml` as `deploy.yaml`: neither patch(1) nor git applies a diff to a file outside the folder
// that they are started in.
std::string name_below_here(std::string_view file) {
    std::filesystem::path below;
    for (const std::filesystem::path& part : std::filesystem::path(file).lexically_normal().relative_path())
        if (part != "..") below /= part;
    return below.string();
}

}  // namespace

void UnifiedDiff::add(std::string_view unchanged) {
    if (labels_.empty()) labels_.emplace_back();
    keep(unchanged);
}

void UnifiedDiff::add(std::string_view from, const std::vector<yaml::Edit>& edits, std::string label) {
    if (labels_.empty() || !label.empty()) labels_.push_back(std::move(label));
    std::size_t at = 0;
    for (const yaml::Edit& edit : edits) {
        keep(from.substr(at, edit.begin - at));
        from_ += from.substr(edit.begin, edit.end - edit.begin);
        to_ += edit.text;
        at = edit.end;
    }
    keep(from.substr(at));
}

// Ends the line that an edit touched, and begins the one that the next edit may touch.
void UnifiedDiff::keep(std::string_view unchanged) {
    const std::size_t newline = unchanged.find('\n');
    const std::size_t head = newline == std::string_view::npos ? unchanged.size() : newline + 1;
    from_ += unchanged.substr(0, head);
    to_ += unchanged.substr(0, head);
    if (newline == std::string_view::npos) return;
    compare();
    unchanged.remove_prefix(head);
    const std::size_t tail = unchanged.rfind('\n') + 1;  // npos + 1 is 0
    for (const std::string_view line : lines_of(unchanged.substr(0, tail)))
        lines_.push_back({' ', std::string(line), labels_.size() - 1});
    from_ = to_ = unchanged.substr(tail);
}

void UnifiedDiff::compare() {
    const std::size_t part = labels_.size() - 1;
    if (from_ == to_) {
        for (const std::string_view line : lines_of(from_)) lines_.push_back({' ', std::string(line), part});
    } else {
        const std::vector<std::string_view> from = lines_of(from_);
        const std::vector<std::string_view> to = lines_of(to_);
        for (const Step& step : steps_between(from, to))
            lines_.push_back(
                {step.mark, std::string(step.mark == '+' ? to[step.line] : from[step.line]), part});
    }
    from_.clear();
    to_.clear();
}

std::string UnifiedDiff::text(std::string_view file) {
    if (!from_.empty() || !to_.empty()) compare();
    constexpr std::ptrdiff_t context = 3;
    const std::string name = name_below_here(file);
    const auto changed = [](const Line& line) { return line.mark != ' '; };
    std::string out;
    const std::string* label = nullptr;
    std::size_t old_line = 1;
    std::size_t new_line = 1;
    auto counted = lines_.begin();
    const auto count_to = [&](auto end) {
        for (; counted != end; ++counted) {
            if (counted->mark != '+') ++old_line;
            if (counted->mark != '-') ++new_line;
        }
    };
    auto at = std::find_if(lines_.begin(), lines_.end(), changed);
    while (at != lines_.end()) {
        if (const std::string& its = labels_[at->part]; label == nullptr || *label != its) {
            label = &its;
            out += fmt::format("--- a/{0}\t{1}\n+++ b/{0}\t{1}\n", name, its);
        }
        const auto begin = at - std::min(context, at - counted);
        auto last = at;  // the last change of this hunk
        for (auto next = at; next != lines_.end() && next - last <= 2 * context + 1; ++next)
            if (changed(*next)) last = next;
        const auto end = last + 1 + std::min(context, lines_.end() - last - 1);
        const auto count = [&](char other) {
            return static_cast<std::size_t>(
                std::count_if(begin, end, [&](const Line& line) { return line.mark != other; }));
        };
        const std::size_t old_count = count('+');
        const std::size_t new_count = count('-');
        count_to(begin);
        out += fmt::format("@@ -{},{} +{},{} @@\n", old_line - (old_count == 0 ? 1 : 0), old_count,
                           new_line - (new_count == 0 ? 1 : 0), new_count);
        for (auto line = begin; line != end; ++line) {
            out += line->mark;
            out += line->text;
            if (!line->text.ends_with('\n')) out += "\n\\ No newline at end of file\n";
        }
        count_to(end);
        at = std::find_if(end, lines_.end(), changed);
    }
    return out;
}

}  // namespace keyshepherd::app
