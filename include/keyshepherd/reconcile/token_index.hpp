// Which tokens AppRole logins have out. Vault cannot be asked for them: it lists accessors, and tells of each
// what made it (https://openbao.org/api-docs/auth/token/). That never changes, so each is asked for once. The
// list needs sudo on auth/token/accessors.
#pragma once

#include <keyshepherd/net/signal.hpp>
#include <keyshepherd/vault/client.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace keyshepherd::reconcile {

using net::Deadline;
using net::Task;

struct TokenOrigin {
    std::string role;        // as planner::role_path() gives it: "auth/AppRole-Prod/role/app"
    std::string owner;       // out of the secret-id's metadata; "" of a secret-id that is not of ours
    std::string issue;       // likewise: tells the secret-ids of one owner apart
    std::uint64_t seen = 0;  // the latest list that was asked for when it was looked up
};
// Of the data of auth/token/lookup-accessor. An empty role: not of an AppRole.
TokenOrigin token_origin(const nlohmann::json& data);

// The accessors in the data of LIST auth/token/accessors; nullopt: Vault answers 404 without an error, which
// means that the namespace has no token. Errc::protocol when the answer may lack an accessor: an answer that
// cannot be read must never count as "no tokens".
result<std::vector<std::string>> listed_accessors(const std::optional<nlohmann::json>& data);

// For one thread.
class TokenIndex {
public:
    // Lists all accessors and looks up those that are new. What was looked up before an error stays known.
    // Succeeds only when the list was complete and each of its tokens was looked up, or was gone meanwhile.
    Task<result<void>> refresh(vault::Client& vault, Deadline deadline);
    // Accessors of tokens that `role` issued; `owner` and `issue` "": whoever's.
    std::vector<std::string> of(std::string_view role, std::string_view owner, std::string_view issue) const;
    // Revokes those that are known, then those that a fresh list shows, until there is none. Call it when no
    // login can succeed any more. Gives how many were revoked.
    Task<result<std::size_t>> revoke(vault::Client& vault, std::string role, std::string owner,
                                     std::string issue, Deadline deadline);
    // Likewise, once: those of the owner whose `issue` is none of `living`.
    Task<result<std::size_t>> revoke_all_but(vault::Client& vault, std::string role, std::string owner,
                                             std::set<std::string> living, Deadline deadline);
    std::size_t size() const { return others_.size() + ours_.size(); }
    std::chrono::steady_clock::time_point refreshed_at() const { return refreshed_at_; }

private:
    Task<result<void>> revoke_these(vault::Client& vault, std::vector<std::string> tokens, Deadline deadline);
    Task<result<std::size_t>> revoke_known(vault::Client& vault, std::string role, std::string owner,
                                           std::string issue, Deadline deadline);

    std::unordered_set<std::uint64_t> others_;  // of no AppRole: hashes
    std::map<std::string, TokenOrigin> ours_;   // by accessor
    std::uint64_t lists_ = 0;                   // asked for so far
    std::chrono::steady_clock::time_point refreshed_at_{};
};

}  // namespace keyshepherd::reconcile
