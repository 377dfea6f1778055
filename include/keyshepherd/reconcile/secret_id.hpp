// Requests for the secret-ids of one AppRole (https://openbao.org/api-docs/auth/approle/). `role` is the
// role's API path, such as "auth/approle/role/app". Errc::not_found always means that the role or its mount
// does not exist.
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

// `bytes` random bytes as hexadecimal digits. The caller must wipe them. Errc::internal if no randomness is
// available.
result<std::string> draw(std::size_t bytes);
inline constexpr std::size_t secret_id_bytes = 20;
inline constexpr std::size_t issue_bytes = 6;

// nullopt if the role does not know the value.
Task<result<std::optional<planner::SecretIdFacts>>> find_secret_id(vault::Client& vault, std::string role,
                                                                   std::string value, Deadline deadline);
// Registers `value` with the body of secret_id_request(). If an earlier attempt, whose answer was lost, has
// already registered it, looks up its facts.
Task<result<planner::SecretIdFacts>> enroll_secret_id(vault::Client& vault, std::string role,
                                                      planner::Json request, std::string value,
                                                      Deadline deadline);
// The accessors of all secret-ids of the role, of any owner.
Task<result<std::vector<std::string>>> list_accessors(vault::Client& vault, std::string role,
                                                      Deadline deadline);
// nullopt if the secret-id does not exist.
Task<result<std::optional<planner::SecretIdFacts>>> find_accessor(vault::Client& vault, std::string role,
                                                                  std::string accessor, Deadline deadline);
// Also succeeds if the secret-id or the role does not exist.
Task<result<void>> destroy_secret_id(vault::Client& vault, std::string role, std::string accessor,
                                     Deadline deadline);

// An index of a role's secret-ids by owner. Vault lists only accessors, and the data of an accessor never
// changes, so each one is looked up once. A role may therefore have thousands. Not thread-safe.
class SecretIdIndex {
public:
    explicit SecretIdIndex(const net::Executor& executor) : ended_(executor) {}

    // The secret-ids of `owner`, from a list that was requested at `not_before` or later. Calls during a
    // request share the next one. After an error, the accessors that were already looked up stay known.
    Task<result<std::vector<planner::SecretIdFacts>>> of(vault::Client& vault, std::string role,
                                                         std::string owner, Deadline not_before,
                                                         Deadline deadline);
    // Removes a destroyed secret-id.
    void forget(const std::string& role, const std::string& accessor);
    // The number of roles in the index. Roles without secret-ids are removed.
    std::size_t remembered() const { return roles_.size(); }

private:
    struct Role {
        std::map<std::string, planner::SecretIdFacts> ours;  // by accessor
        std::unordered_set<std::uint64_t> others;            // hashes
        Deadline listed{};
        bool listing = false;
        std::size_t callers = 0;  // calls of of() that refer to it
    };
    Task<result<void>> refresh(vault::Client& vault, std::string role, Deadline deadline);

    std::map<std::string, Role> roles_;
    net::Signal ended_;
};

}  // namespace keyshepherd::reconcile
