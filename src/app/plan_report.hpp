// What `plan` and `apply` print.
#pragma once

#include <keyshepherd/planner/plan.hpp>

#include <string>
#include <vector>

namespace keyshepherd::app {

struct ReportRow {
    std::string resource;  // "VaultPolicy ai/ai-api"
    std::string claim;     // "sys/policies/acl/ai-api"
    std::string place = {};
    planner::Plan plan = {};
    std::string error = {};  // not empty: Vault could not be asked, or refused a request
    std::vector<std::string> warnings = {};
};

struct Tally {
    std::size_t equal = 0, create = 0, update = 0, refused = 0, failed = 0;
};
Tally count(const std::vector<ReportRow>& rows);

// For people: text of resources and of Vault is printable().
std::string report_text(const std::vector<ReportRow>& rows, bool applied, bool colour);
// For programs: ASCII alone.
std::string report_json(const std::vector<ReportRow>& rows, bool applied);

}  // namespace keyshepherd::app
