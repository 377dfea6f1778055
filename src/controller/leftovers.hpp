// Objects that deleted resources left in Vault because no login could remove them before the deletionTimeout.
// A Secret in the operator's namespace stores them under the operator's seal, so that the operator can remove
// them later, also after a restart.
#pragma once

#include "claim_signer.hpp"
#include "store.hpp"

#include <keyshepherd/kube/client.hpp>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::controller {

struct Leftover {
    Leftover() = default;
    Leftover(std::string vault_, std::string path_, resources::Resource resource_, bool revoke_tokens_)
        : vault(std::move(vault_)),
          path(std::move(path_)),
          resource(std::move(resource_)),
          revoke_tokens(revoke_tokens_) {}

    std::string vault;             // name from vault_of()
    std::string path;              // planner::claim(); for a VaultSecretID that of its role
    resources::Resource resource;  // the deleted resource
    bool revoke_tokens = false;    // of a VaultSecretID
};

// Converts a leftover to its record and back; nullptr or nullopt if that is not possible. Pure.
resources::Json record_of(const Leftover& leftover);
std::optional<Leftover> leftover_of(const resources::Json& record);

// Whether a record of `record` bytes may be kept beside `of_namespace` bytes of the same namespace and
// `total` bytes of all namespaces. A namespace never uses more than what remains for the others, so that one
// tenant cannot fill the Secret. Pure.
bool is_within_share(std::size_t record, std::size_t of_namespace, std::size_t total);

// Not thread-safe. Only the leader writes.
class Leftovers {
public:
    static constexpr const char* secret_name = "keyshepherd-operator-left-in-vault";
    // Maximum size of all records in bytes. A Secret can hold 1 MiB.
    static constexpr std::size_t budget = std::size_t{960} * 1024;
    static constexpr std::size_t longest_record = std::size_t{16} * 1024;

    // Reads the records of former leaders. Ignores a record without a valid seal.
    kube::Task<result<void>> open(kube::Client& kube, std::string ns, const ClaimSigner& signer,
                                  kube::Deadline deadline);
    // Errc::invalid for mounts, which contain data, and for records that are too long. Errc::too_large if the
    // share of the namespace is used up.
    kube::Task<result<void>> add(kube::Client& kube, Leftover leftover, kube::Deadline deadline);
    kube::Task<result<void>> drop(kube::Client& kube, std::string uid, kube::Deadline deadline);
    // The leftovers in one Vault.
    std::vector<Leftover> of(const std::string& vault) const;
    std::size_t size() const { return all_.size(); }

private:
    kube::Task<result<void>> write(kube::Client& kube, std::string uid, resources::Json value,
                                   kube::Deadline deadline);

    std::string ns_;
    const ClaimSigner* signer_ = nullptr;
    bool exists_ = false;
    struct Kept {
        Leftover leftover;
        std::size_t bytes = 0;
    };
    std::map<std::string, Kept> all_;  // by the uid of the resource
};

}  // namespace keyshepherd::controller
