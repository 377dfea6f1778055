// Custom resources out of files, checked as far as they can be without a cluster.
#pragma once

#include "input_files.hpp"

#include <keyshepherd/resources/resource.hpp>

#include <string>
#include <vector>

namespace keyshepherd::app {

struct FileResource {
    resources::Resource resource;
    std::string place;               // "vault.yaml line 12"
    bool adoption_is_given = false;  // spec.adoptionPolicy stands in the file
};

enum class Providers {
    left_out,  // they count among the others, whatever is wrong with them
    checked,   // a faulty one is an error
    taken,     // the same, and it is used
};

struct ResourceFiles {
    std::vector<FileResource> resources;  // in the order of the files
    std::vector<resources::Resource> providers;
    std::vector<std::string> warnings;  // of files that are left out
    std::vector<std::string> errors;    // "vault.yaml line 12: VaultPolicy ai/x: spec.name: is missing"
    std::size_t others = 0;             // objects that are not ours
    std::size_t checked_providers = 0;

    // Drops the providers: how many there were.
    std::size_t take_providers() {
        const std::size_t count = providers.size();
        providers.clear();
        return count;
    }
};

// Reads every document of every file, and the items of Lists.
ResourceFiles read_resources(const std::vector<InputFile>& files, const std::string& default_namespace,
                             Providers providers, Unreadable unreadable = Unreadable::refused);

}  // namespace keyshepherd::app
