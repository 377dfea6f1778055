// A VaultSecretID with files in the place of Secrets: the operator's own decisions (planner::next_step),
// carried out below --secrets-dir, or only foretold. Beside role_id and secret_id lie .pending, a value that
// is not published yet, and .state.json, which holds no secret.
#pragma once

#include "secret_folder.hpp"

#include <keyshepherd/planner/plan.hpp>
#include <keyshepherd/planner/secret_id.hpp>
#include <keyshepherd/reconcile/secret_id.hpp>
#include <keyshepherd/reconcile/token_index.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace keyshepherd::app {

// One Vault, and what was learned of it in this run.
struct SecretIdVault {
    vault::Client& client;
    std::string name;  // reconcile::vault_name()
    std::chrono::milliseconds timeout;
    reconcile::SecretIdIndex secret_ids;
    net::Deadline began = net::SteadyClock::now();
    reconcile::TokenIndex tokens = {};

    net::Deadline soon() const { return net::SteadyClock::now() + timeout; }
};

struct SecretFiles {
    std::string folder;             // --secrets-dir
    std::string owner = "default";  // --owner: tells the runs of one installation from those of another
};

// The VaultAppRole that it belongs to.
struct SecretIdRole {
    std::string path;      // API path
    std::string role_id;   // that it is to have; "": as Vault has it
    bool is_there = true;  // false: its making is only planned
    bool revoke_tokens = false;
};

class SecretIdFiles {
public:
    // `resource` outlives it. `apply`: the plan is carried out.
    SecretIdFiles(SecretIdVault& vault, const SecretFiles& files, const resources::Resource& resource,
                  SecretIdRole role, bool apply);
    ~SecretIdFiles();
    SecretIdFiles(const SecretIdFiles&) = delete;
    SecretIdFiles& operator=(const SecretIdFiles&) = delete;

    // What has been done, or would be. An Error: it was not brought to its end, and the next run goes on.
    net::Task<result<planner::Plan>> run();

private:
    using Step = planner::SecretIdStep;
    struct Revoking {  // a secret-id that is destroyed, and whose tokens may still be good
        std::string accessor, issue;
    };

    net::Task<result<void>> look();
    result<void> read_files();
    result<void> read_state(const std::string& text);
    net::Task<result<void>> ask();
    net::Task<result<void>> finish_revocation();
    net::Task<result<void>> execute(const Step& step);
    result<void> draw();
    net::Task<result<void>> enroll();
    result<void> publish(std::string& value);
    result<void> write(const char* name, const std::string& text);
    result<void> remove(const char* name);
    net::Task<result<void>> destroy(const Step& step);
    net::Task<result<std::vector<planner::SecretIdFacts>>> list();
    result<void> record(const planner::SecretIdRecord& record);
    std::string state_text() const;
    result<void> save();
    void refuse(std::string message);
    void note(std::string field, resources::Json before, resources::Json after);

    SecretIdVault& vault_;
    const SecretFiles& files_;
    const resources::Resource& resource_;
    SecretIdRole role_;
    bool apply_;
    std::string owner_;  // in Vault's metadata
    std::string place_;  // the folder, for people

    std::optional<SecretFolder> folder_;
    std::string value_;          // in secret_id
    std::string pending_value_;  // in .pending
    std::string written_state_;  // .state.json as it lies there; "": absent
    std::optional<Revoking> revoking_;
    planner::SecretIdRecord record_;
    planner::SecretIdView view_;
    bool issuing_ = false;  // a value was drawn in this run

    planner::Plan plan_;
};

}  // namespace keyshepherd::app
