// Reconciles a provider: watches the version of its key, and restarts the workloads that need a new one.
#pragma once

#include "reconciler.hpp"

#include <keyshepherd/planner/delivery.hpp>
#include <keyshepherd/planner/key_probe.hpp>
#include <keyshepherd/planner/rotation.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace keyshepherd::controller {

class ProviderReconciler : public Reconciler {
public:
    using Reconciler::Reconciler;
    Task<Again> reconcile();

private:
    // Reads the version at each path. An error means that Vault is unavailable or refuses the login.
    Task<result<void>> look(const Way& way);
    // Finds the workloads that use the provider, and those that need a new version.
    void sort_users();
    // The provider that is used instead of this AIProvider because it has the same name; "" if there is none.
    std::string name_taken_by() const;
    // Whether the name means this provider in that namespace.
    bool is_for(const std::string& ns) const;
    std::string source_of(const planner::KeyPlace& place, const planner::KeyVersion& key) const;
    Task<result<void>> roll_due();
    Task<result<void>> roll(std::string id);
    StatusUpdate status_update() const;
    // Implements spec.delivery.secret (provider_delivery.cpp): removes Secrets that are not wanted, and
    // writes the newest key to the others. An error is Vault's, or a cancellation.
    Task<result<void>> deliver(const Way& way);
    struct KeyData;
    Task<result<void>> deliver_to(std::string ns, const planner::KeyPlace& place, const Way& way,
                                  std::map<std::string, KeyData>& data);
    Task<result<void>> read_data(const planner::KeyPlace& place, const Way& way, KeyData& into);
    // Reads a secret of KV version 1. First checks the mount's engine, because reading a path of another
    // engine may create a lease.
    Task<result<void>> read_unversioned(std::string path, const Way& way, KeyData& into);
    Task<result<planner::KeyView>> look_at_unversioned(std::string path, const Way& way);
    Task<result<void>> write_secret(std::string ns, planner::DeliveryStep step,
                                    std::optional<planner::FoundSecret> found, const planner::KeyPlace& place,
                                    planner::KeyVersion delivered, std::string source, const Json& fields);
    // Records in the Secret, just written as `version`, since when it has its key.
    Task<result<void>> date_secret(std::string ns, std::string uid, std::string version);
    // Removes the Secret from all namespaces except `but`, `grace` after its last reader.
    Task<result<void>> withdraw(std::set<std::string> but, std::chrono::seconds grace);
    Task<result<void>> withdraw_from(std::string ns, std::chrono::seconds grace);
    Task<result<void>> mark_unread(std::string ns, planner::FoundSecret found);
    void tell_of_delivery(StatusUpdate& found) const;
    // Tests each key whose version was not tested yet, and the others when their interval has passed. An
    // error is Vault's, or a cancellation.
    Task<result<void>> try_keys(const Way& way);
    // nullopt if Vault does not return this version yet.
    Task<result<std::optional<planner::Condition>>> try_key(const planner::KeyPlace& place, const Way& way);
    void record_trial(const planner::KeyPlace& place, planner::Condition condition);
    // Adds the condition KeyValid.
    void report_validity(StatusUpdate& found);
    // When the current template of a workload was first run (planner::template_since()).
    Task<result<std::optional<std::int64_t>>> template_since(const planner::Workload& workload);
    Task<Again> refuse_all(std::string reason, std::string message);

    struct Stale {
        planner::Workload workload;
        planner::KeyVersion key;
        std::string record;  // of the rollout that delivers the key
        // Do not restart the workload if its template is younger: pods that start later get the key.
        std::optional<std::int64_t> unless_after = {};
    };
    std::vector<planner::KeyPlace> places_;
    std::map<std::string, planner::KeyView> views_;  // by path
    std::map<std::string, Stale> stale_;             // workloads to restart, by id
    std::int64_t vault_lead_ = 0;  // seconds by which Vault's clock is ahead of the API server's
    std::int64_t users_ = 0;
    std::int64_t skipped_ = 0;
    std::map<std::string, planner::Delivered> delivered_;  // by namespace
    std::size_t not_selected_ = 0;              // namespaces with readers that delivery does not select
    std::optional<milliseconds> next_removal_;  // of a Secret without readers
    bool deliver_again_ = false;                // the API server refused a write
    bool try_again_ = false;                    // some key was not tested yet
};

}  // namespace keyshepherd::controller
