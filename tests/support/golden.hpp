// The golden cases of the injector: one folder a case below tests/golden/inject.
//
//     input.yaml    the workload as the API server would send it
//     old.yaml      optional: the stored object, which makes it an UPDATE
//     case.yaml     settings, verdict, and what a person says must be true of the result (see README.md
//     there) patch.json    the patch; written by KEYSHEPHERD_UPDATE_GOLDEN=1 result.json   the patched
//     object; likewise
#pragma once

#include "support/settings.hpp"

#include <keyshepherd/inject/injector.hpp>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace keyshepherd::golden {

struct Case {
    std::string name;
    std::filesystem::path folder;
    std::string input;      // JSON text
    std::string old;        // JSON text, or empty
    nlohmann::json expect;  // case.yaml
    inject::Settings settings = testing_support::settings();
    inject::Catalog catalog;
};

// Every folder, by name; throws std::runtime_error for an unknown or a missing file, so that nothing goes
// stale.
std::vector<Case> cases();

nlohmann::json to_nlohmann(const json::value& v);

// The patch, [] where nothing changed.
nlohmann::json operations(const inject::Outcome& outcome);

}  // namespace keyshepherd::golden
