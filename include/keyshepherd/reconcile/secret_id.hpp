// Secret-ids of one AppRole role: the calls (https://openbao.org/api-docs/auth/approle/). `role` is the
// role's API path, "auth/approle/role/app". Errc::not_found throughout: the role, or its mount, does not
// exist.
#pragma once

#include <keyshepherd/net/signal.hpp>
#include <keyshepherd/net/wiped.hpp>
#include <keyshepherd/planner/secret_id.hpp>
#include <keyshepherd/vault/client.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <unordered_set>
#include <vector>

namespace keyshepherd::reconcile {

using net::Deadline;
using net::Task;

// Random digits of so many bytes; the caller wipes them. Errc::internal when there is no randomness.
result<std::string> draw(std::size_t bytes);
inline constexpr std::size_t secret_id_bytes = 20;
inline constexpr std::size_t issue_bytes = 6;

// nullopt: the role exists and does not know the value.
Task<result<std::optional<planner::SecretIdFacts>>> find_secret_id(vault::Client& vault, std::string role,
                                                                   std::string value, Deadline deadline);
// Registers `value` with what secret_id_request() says. Where it turns out to be registered already, by an
// attempt whose answer was lost, its facts are looked up.
Task<result<planner::SecretIdFacts>> enroll_secret_id(vault::Client& vault, std::string role,
                                                      planner::Json request, std::string value,
                                                      Deadline deadline);
// Accessors of every one of the role, also of others.
Task<result<std::vector<std::string>>> list_accessors(vault::Client& vault, std::string role,
                                                      Deadline deadline);
// nullopt: gone.
Task<result<std::optional<planner::SecretIdFacts>>> find_accessor(vault::Client& vault, std::string role,
                                                                  std::string accessor, Deadline deadline);
// Success also when it is gone already, or the role is.
Task<result<void>> destroy_secret_id(vault::Client& vault, std::string role, std::string accessor,
                                     Deadline deadline);

// Which secret-ids of a role are of ours, by whose they are. Vault lists accessors, and what it tells of one
// never changes: each is asked for once, so that a role may have thousands. For one thread.
class SecretIdIndex {
public:
    explicit SecretIdIndex(net::Executor executor) : ended_(std::move(executor)) {}

    // Those that carry the owner's mark, out of a list that was asked for at `not_before` or later. Whoever
    // asks while another's list is under way shares the next one. What was looked up before an error stays
    // known.
    Task<result<std::vector<planner::SecretIdFacts>>> of(vault::Client& vault, std::string role,
                                                         std::string owner, Deadline not_before,
                                                         Deadline deadline);
    // It was destroyed.
    void forget(const std::string& role, const std::string& accessor);
    // How many roles something is remembered of: a role without secret-ids is forgotten.
    std::size_t remembered() const { return roles_.size(); }

private:
    struct Role {
        std::map<std::string, planner::SecretIdFacts> ours;  // by accessor
        std::unordered_set<std::uint64_t> others;            // hashes
        Deadline listed{};
        bool listing = false;
        std::size_t callers = 0;  // of of(), which refer to it
    };
    Task<result<void>> refresh(vault::Client& vault, std::string role, Deadline deadline);

    std::map<std::string, Role> roles_;
    net::Signal ended_;
};

}  // namespace keyshepherd::reconcile
