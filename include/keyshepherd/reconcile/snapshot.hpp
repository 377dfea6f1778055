// What one Vault said about all policies, or all mounts, at once; kept for a while, and only to confirm.
//
// A snapshot that does not show an object as it should be proves nothing: it may be older than a write of
// ours. Whoever gets no answer here, or one that is not in sync, asks with observe() before anything is
// decided.
#pragma once

#include <keyshepherd/fsm/bulk_read.hpp>
#include <keyshepherd/net/signal.hpp>
#include <keyshepherd/planner/plan.hpp>
#include <keyshepherd/vault/client.hpp>

#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::reconcile {

using net::Deadline;
using net::Task;

// Which policies have which text: their digests, not the texts.
class PolicySnapshot {
public:
    // `path` as in planner::claim().
    void add(std::string_view path, std::string_view text);
    void seal();  // after the last add()
    // Whether the policy had exactly this text, byte for byte.
    bool holds(std::string_view path, std::string_view text) const;
    std::size_t size() const { return digests_.size(); }

private:
    using Digest = std::array<unsigned char, 32>;
    static Digest digest(std::string_view path, std::string_view text);

    std::vector<Digest> digests_;
};

// For one thread, that of `executor`; outlives every call. A server that has no such list, or does not let us
// see it, is asked again after an hour.
class Snapshots {
public:
    Snapshots(const net::Executor& executor, vault::Client& vault);

    struct Seen {
        planner::Observation observed;
        fsm::Duration age;  // since it was asked for
    };
    // The resource's object, from an answer that was asked for no longer than `oldest` ago. Asks for one when
    // that pays; callers meanwhile wait for its answer. nullopt: ask about the object itself. Has no errors:
    // the question about the object will have them.
    Task<std::optional<Seen>> observe(const planner::Resource& resource, fsm::Duration oldest,
                                      Deadline deadline);
    // That observe() will be called then, for this resource or another of its kind.
    void expect(const planner::Resource& resource, Deadline at);

private:
    struct Sort {
        Sort(const net::Executor& executor, std::string path_, std::size_t fewest)
            : path(std::move(path_)), bulk(fewest), changed(executor) {}

        std::string path;
        fsm::BulkRead bulk;
        net::Signal changed;  // it no longer asks
        PolicySnapshot policies;
        std::map<std::string, std::string, std::less<>>
            mounts;  // by path with its slash: what is there, as JSON
    };

    Sort* sort_of(const planner::Resource& resource);
    std::optional<planner::Observation> shown(const Sort& sort, const planner::Resource& resource) const;
    Task<void> ask(Sort& sort, Deadline deadline);
    Task<result<std::size_t>> ask_policies(Sort& sort, Deadline deadline);
    Task<result<std::size_t>> ask_mounts(Sort& sort, Deadline deadline);

    vault::Client& vault_;
    Sort policies_;
    Sort mounts_;
    Sort auth_;
};

}  // namespace keyshepherd::reconcile
