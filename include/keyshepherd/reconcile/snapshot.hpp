// Answers of one Vault about all policies or all mounts. They are kept for a short time, and only confirm
// that an object is in sync.
//
// A snapshot that does not match an object proves nothing, because it may be older than the last write. If
// there is no snapshot, or if it does not match, callers read the object with observe() before they decide
// anything.
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

// The digests of all policies and their texts.
class PolicySnapshot {
public:
    // `path` is a planner::claim().
    void add(std::string_view path, std::string_view text);
    void seal();  // call after the last add()
    // Whether the policy had exactly this text.
    bool holds(std::string_view path, std::string_view text) const;
    std::size_t size() const { return digests_.size(); }

private:
    using Digest = std::array<unsigned char, 32>;
    static Digest digest(std::string_view path, std::string_view text);

    std::vector<Digest> digests_;
};

// Not thread-safe: used only on the thread of `executor`. Must outlive every call. If a server has no such
// list, or refuses it, the list is requested again after an hour.
class Snapshots {
public:
    Snapshots(const net::Executor& executor, vault::Client& vault);

    struct Seen {
        planner::Observation observed;
        fsm::Duration age;  // since it was requested
    };
    // The resource's object, from an answer that was requested at most `oldest` ago. Requests a list if that
    // is cheaper; other callers wait for its answer. nullopt if the caller must read the object itself.
    // Returns no errors, because that read reports them.
    Task<std::optional<Seen>> observe(const planner::Resource& resource, fsm::Duration oldest,
                                      Deadline deadline);
    // Announces a call of observe() at that time, for this resource or another one of its kind.
    void expect(const planner::Resource& resource, Deadline at);

private:
    struct Sort {
        Sort(const net::Executor& executor, std::string path_, std::size_t fewest)
            : path(std::move(path_)), bulk(fewest), changed(executor) {}

        std::string path;
        fsm::BulkRead bulk;
        net::Signal changed;  // a request has ended
        PolicySnapshot policies;
        std::map<std::string, std::string, std::less<>> mounts;  // by path with its slash: the mount as JSON
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
