// An index of the tokens that AppRole logins created. Vault has no query for this: it lists accessors, and
// returns the origin of each (https://openbao.org/api-docs/auth/token/). The origin never changes, so each
// accessor is looked up once. The list needs sudo on auth/token/accessors.
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
    std::string role;        // planner::role_path(), such as "auth/AppRole-Prod/role/app"
    std::string owner;       // from the secret-id's metadata; "" if keyshepherd did not issue it
    std::string issue;       // from the metadata: unique among the secret-ids of one owner
    std::uint64_t seen = 0;  // number of the last list that was requested when it was looked up
};
// `data` is that of auth/token/lookup-accessor. The role is empty if the token is not from an AppRole login.
TokenOrigin token_origin(const nlohmann::json& data);

// The accessors in the data of LIST auth/token/accessors. `data` is nullopt if Vault answers 404 without an
// error, which means that the namespace has no tokens. Errc::protocol if the answer may be incomplete: an
// unreadable answer must never count as "no tokens".
result<std::vector<std::string>> listed_accessors(const std::optional<nlohmann::json>& data);

// Not thread-safe.
class TokenIndex {
public:
    // Lists all accessors and looks up new ones. After an error, those that were already looked up stay
    // known. Succeeds only if the list was complete and each token was looked up or no longer exists.
    Task<result<void>> refresh(vault::Client& vault, Deadline deadline);
    // The accessors of the tokens of `role`. If `owner` and `issue` are "", those of all owners.
    std::vector<std::string> of(std::string_view role, std::string_view owner, std::string_view issue) const;
    // Revokes the known tokens and then those of new lists, until none is left. Call it only when no login
    // can succeed any more. Returns the number of revoked tokens.
    Task<result<std::size_t>> revoke(vault::Client& vault, std::string role, std::string owner,
                                     std::string issue, Deadline deadline);
    // Revokes, once, the tokens of the owner whose `issue` is not in `living`. Returns their number.
    Task<result<std::size_t>> revoke_all_but(vault::Client& vault, std::string role, std::string owner,
                                             std::set<std::string> living, Deadline deadline);
    std::size_t size() const { return others_.size() + ours_.size(); }
    std::chrono::steady_clock::time_point refreshed_at() const { return refreshed_at_; }

private:
    Task<result<void>> revoke_these(vault::Client& vault, std::vector<std::string> tokens, Deadline deadline);
    Task<result<std::size_t>> revoke_known(vault::Client& vault, std::string role, std::string owner,
                                           std::string issue, Deadline deadline);

    std::unordered_set<std::uint64_t> others_;  // hashes of accessors that are not from an AppRole
    std::map<std::string, TokenOrigin> ours_;   // by accessor
    std::uint64_t lists_ = 0;                   // number of requested lists
    std::chrono::steady_clock::time_point refreshed_at_{};
};

}  // namespace keyshepherd::reconcile
