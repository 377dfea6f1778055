// Decides: what annotations, providers, settings and the pod template add up to. Nothing is edited here.
#pragma once

#include <keyshepherd/inject/annotations.hpp>
#include <keyshepherd/inject/injector.hpp>

#include <map>
#include <string>
#include <vector>

namespace keyshepherd::inject {

// A variable of the pod: where its value is, and the rendered file or the Secret that will carry it.
struct Carried {
    Reference reference;
    std::string file;         // holysheep.env: below env_folder, of wiring exec below a Folder in it
    std::string secret = {};  // that the operator publishes it in, by the variable's name
};

// A folder of rendered files. The containers that asked for exactly these files mount it, and it alone.
struct Folder {
    std::string name;                    // of the first of these containers
    std::vector<std::string> variables;  // in env files; with wiring file each in a file of its own
    bool extra_files = false;            // whether it holds Plan::files
};

// What one container gets. `list` is "containers" or "initContainers".
struct ContainerPlan {
    std::string list;
    std::size_t index = 0;
    std::string name;
    std::vector<std::string> variables;   // to add, or to replace where they stand
    std::vector<std::string> replaced;    // of these, the ones that stand with a value of the user's
    bool wrap = false;                    // command through the launcher
    std::vector<std::string> entrypoint;  // in place of an absent command
    std::string env_folder = {};          // the Folder of Plan::env_folders that it mounts; "": none
    std::string files_folder = {};        // the same of Plan::files_folders
};

struct RenderedFile {
    std::string path;         // below a Folder
    std::string contents;     // agent template
    std::string permissions;  // "0444"
};

struct Plan {
    Wiring wiring = Wiring::envfile;
    AgentMode agent = AgentMode::sidecar;
    bool native_sidecar = true;
    Connection vault;
    Login login;
    std::string ca_secret;
    std::map<std::string, Carried> variables;  // by name: one value a pod
    std::vector<std::string> order;            // the variables as they are added to a container
    std::vector<RenderedFile> files;
    std::vector<Folder> env_folders;    // in env_volume, of wiring exec
    std::vector<Folder> files_folders;  // in files_volume
    std::vector<ContainerPlan> containers;
    std::string flavor, agent_image, log_level;
    std::string cpu_request, cpu_limit, memory_request, memory_limit;  // "none" or canonical
    long user = 0, group = 0;
};

// Where an annotation came from, for the field of a fault.
struct Source {
    std::map<std::string, std::string> values;  // names behind the prefix
    std::map<std::string, std::string> fields;  // name → metadata.annotations[…]
    std::string field(const std::string& name) const;
};

// Of `about` only the namespace counts. `pod` is the pod's spec without anything that keyshepherd injected.
// Every fault goes to `outcome`; the plan is worth something only where there is none.
Plan decide(const json::value& pod, const AnnotationOptions& options, const Source& source,
            const Workload& about, const Catalog& catalog, const Settings& settings, Outcome& outcome);

}  // namespace keyshepherd::inject
