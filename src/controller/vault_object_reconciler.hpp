// Reconciles mounts, policies and roles, and cuts a VaultAppRole off (cut_off.cpp).
#pragma once

#include "reconciler.hpp"

#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/planner/plan.hpp>

#include <cstddef>
#include <optional>
#include <string>

namespace keyshepherd::controller {

class VaultObjectReconciler : public Reconciler {
public:
    using Reconciler::Reconciler;
    Task<Again> reconcile();

private:
    Task<EntryPtr> owner(std::string vault);
    // The age of a snapshot that matches the last result. nullopt if the object itself has to be read.
    // Nothing is decided, written or reported from a snapshot.
    Task<std::optional<milliseconds>> confirmed(const Way& way, const planner::Ownership& ownership);
    // The time until the next reconcile if nothing changes. `age` is that of a matching snapshot.
    Again rest(std::optional<milliseconds> age = std::nullopt);
    Task<Again> converge(const Way& way, const planner::Observation& observed,
                         const planner::Ownership& ownership, std::string claim);
    void report_role_id(const std::string& role_id);
    void wake_refused();
    bool removes() const;
    std::string removal_refusal(const Way& way) const;
    Task<Again> remove(const Way& way, planner::Observation observed, planner::Ownership ownership);
    // The annotation keyshepherd.dev/cut-off of a VaultAppRole.
    struct Swept {
        std::size_t secret_ids = 0;
        std::size_t tokens = 0;
    };
    Task<Again> cut_off(const Way& way, const planner::Judgement& judgement, bool owner);
    std::string cut_off_refusal(const Way& way, bool owner) const;
    Task<result<Swept>> sweep(const Way& way);
    Task<result<bool>> end_cut_off(const Way& way);
    Task<result<std::string>> disable_entity(vault::Client& vault);
};

}  // namespace keyshepherd::controller
