#include "plan_report.hpp"

#include "unified_diff.hpp"

#include <keyshepherd/core/text.hpp>

#include <fmt/format.h>

namespace keyshepherd::app {

namespace {

using planner::Verdict;

constexpr const char* red = "\033[31m";
constexpr const char* green = "\033[32m";
constexpr const char* yellow = "\033[33m";

std::string painted(const std::string& text, const char* colour, bool on) {
    return on ? fmt::format("{}{}\033[0m", colour, text) : text;
}

std::string value_text(const planner::Json& value) {
    if (value.is_null()) return "(absent)";
    return printable(value.dump(-1, ' ', false, planner::Json::error_handler_t::replace));
}

void add_text_diff(const planner::FieldChange& change, bool colour, std::string& out) {
    UnifiedDiff diff;
    const std::string before = change.before.is_string() ? change.before.get<std::string>() : "";
    diff.add(before, {{.begin = 0, .end = before.size(), .text = change.after.get<std::string>()}}, "");
    const std::string text = diff.text("policy");
    std::size_t at = 0;
    for (int line = 0; at < text.size(); ++line) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        const std::string row = printable(std::string_view(text).substr(at, end - at));
        at = end + 1;
        if (line < 2) continue;  // the names of the files
        const char* paint = row.starts_with('+') ? green : row.starts_with('-') ? red : nullptr;
        out += "      " + (paint != nullptr ? painted(row, paint, colour) : row) + "\n";
    }
}

const char* verdict_name(const ReportRow& row, bool applied) {
    if (!row.error.empty()) return "failed";
    switch (row.plan.verdict) {
        case Verdict::in_sync:
            return "in sync";
        case Verdict::create:
            return applied ? "created" : "to create";
        case Verdict::update:
            return applied ? "updated" : "to update";
        case Verdict::remove:
            return applied ? "removed" : "to remove";
        case Verdict::refused:
            return "refused";
    }
    return "";
}

}  // namespace

Tally count(const std::vector<ReportRow>& rows) {
    Tally tally;
    for (const ReportRow& row : rows) {
        if (!row.error.empty()) {
            ++tally.failed;
            continue;
        }
        switch (row.plan.verdict) {
            case Verdict::in_sync:
                ++tally.equal;
                break;
            case Verdict::create:
                ++tally.create;
                break;
            case Verdict::update:
            case Verdict::remove:
                ++tally.update;
                break;
            case Verdict::refused:
                ++tally.refused;
                break;
        }
    }
    return tally;
}

std::string report_text(const std::vector<ReportRow>& rows, bool applied, bool colour) {
    std::string out;
    for (const ReportRow& row : rows) {
        const bool bad = !row.error.empty() || row.plan.verdict == Verdict::refused;
        if (!bad && row.plan.verdict == Verdict::in_sync) continue;
        const char* mark = bad ? "!" : row.plan.verdict == Verdict::create ? "+" : "~";
        const char* paint = bad ? red : row.plan.verdict == Verdict::create ? green : yellow;
        out += painted(fmt::format("{} {}", mark, printable(row.resource)), paint, colour) +
               fmt::format("  {}: {}\n", printable(row.claim), verdict_name(row, applied));
        if (!row.error.empty()) out += fmt::format("    {}\n", printable(row.error));
        if (!row.plan.message.empty())
            out += fmt::format("    {}: {}\n", row.plan.reason, printable(row.plan.message));
        for (const planner::FieldChange& change : row.plan.changes) {
            if (change.field == "policy") {
                out += "    policy\n";
                add_text_diff(change, colour, out);
            } else if (row.plan.verdict == Verdict::create) {
                out += fmt::format("    {}: {}\n", printable(change.field), value_text(change.after));
            } else {
                out += fmt::format("    {}: {} → {}\n", printable(change.field),
                                   painted(value_text(change.before), red, colour),
                                   painted(value_text(change.after), green, colour));
            }
        }
    }
    const Tally tally = count(rows);
    out += fmt::format("{} in sync, {} {}, {} {}", tally.equal, tally.create,
                       applied ? "created" : "to create", tally.update, applied ? "updated" : "to update");
    if (tally.refused != 0) out += fmt::format(", {} refused", tally.refused);
    if (tally.failed != 0) out += fmt::format(", {} failed", tally.failed);
    return out + "\n";
}

std::string report_json(const std::vector<ReportRow>& rows, bool applied) {
    nlohmann::ordered_json report;
    report["resources"] = nlohmann::ordered_json::array();
    for (const ReportRow& row : rows) {
        nlohmann::ordered_json made = {{"resource", row.resource},
                                       {"path", row.claim},
                                       {"place", row.place},
                                       {"verdict", verdict_name(row, applied)},
                                       {"changes", nlohmann::ordered_json::array()}};
        for (const planner::FieldChange& change : row.plan.changes)
            made["changes"].push_back(
                {{"field", change.field}, {"before", change.before}, {"after", change.after}});
        if (!row.plan.reason.empty()) made["reason"] = row.plan.reason;
        const std::string& message = row.error.empty() ? row.plan.message : row.error;
        if (!message.empty()) made["message"] = message;
        if (!row.warnings.empty()) made["warnings"] = row.warnings;
        report["resources"].push_back(std::move(made));
    }
    const Tally tally = count(rows);
    report["summary"] = {{"inSync", tally.equal},
                         {applied ? "created" : "toCreate", tally.create},
                         {applied ? "updated" : "toUpdate", tally.update},
                         {"refused", tally.refused},
                         {"failed", tally.failed}};
    return report.dump(2, ' ', true, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace keyshepherd::app
