// Secret-ids of one AppRole role: the calls (https://openbao.org/api-docs/auth/approle/). `role` is the
// role's API path, "auth/approle/role/app". Errc::not_found throughout: the role, or its mount, does not
// exist.
#pragma once

#include <keyshepherd/net/wiped.hpp>
#include <keyshepherd/planner/secret_id.hpp>
#include <keyshepherd/vault/client.hpp>

#include <string>
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
// Every one of the role, also of others: one request, and one for each.
Task<result<std::vector<planner::SecretIdFacts>>> list_secret_ids(vault::Client& vault, std::string role,
                                                                  Deadline deadline);
// nullopt: gone.
Task<result<std::optional<planner::SecretIdFacts>>> find_accessor(vault::Client& vault, std::string role,
                                                                  std::string accessor, Deadline deadline);
// Success also when it is gone already, or the role is.
Task<result<void>> destroy_secret_id(vault::Client& vault, std::string role, std::string accessor,
                                     Deadline deadline);

}  // namespace keyshepherd::reconcile
