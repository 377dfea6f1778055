// What a controller has to look at, and when. Pure: the caller tells the time and brings the randomness.
//
//     queue.add(key, now);                                    // something about key changed
//     while (auto key = queue.pop(now, 4)) spawn(work(*key)); // at most 4 at once
//     queue.done(key); queue.forget(key);                     // it went well; queue.add(key, now + resync)
//     queue.done(key); queue.retry(key, now, unit);           // it did not
//     sleep until queue.next_wakeup(4) or the next add
//
// Keys belong to lanes (namespaces), as LaneOf tells. Keys that are due are handed out lane by lane in turn,
// one of each: with n lanes, the key that has been due the longest in its lane is handed out by one of the
// next n calls of pop(), however many keys the other lanes have. A call takes O(log n), counted over all
// calls.
//
// Invariants: 1. A key waits at most once, for the earliest moment that was asked for. 2. A key is handed out
// to one worker at a time. 3. A key added while its worker runs is handed out once more afterwards, however
// often it was added. 4. Of a lane, pop() gives the key that is due the longest; ties in the order they were
// added.
#pragma once

#include <keyshepherd/fsm/backoff.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <type_traits>
#include <utility>

namespace keyshepherd::fsm {

// All keys are in one lane.
struct OneLane {
    template <class Key>
    int operator()(const Key&) const {
        return 0;
    }
};

template <class Key, class LaneOf = OneLane>
class WorkQueue {
public:
    explicit WorkQueue(Backoff backoff = {}) : backoff_(backoff) {}

    // Not before `at`; an earlier wish for the same key stays.
    void add(const Key& key, Instant at) {
        const auto found = waiting_.find(key);
        if (found != waiting_.end()) {
            Place& place = found->second;
            if (place.at <= at) return;
            std::set<Due>& keys = place.is_due ? lanes_.at(LaneOf()(key)) : order_;
            keys.erase(Due{place.at, place.turn, key});
            place = {at, turn_++, place.is_due};
            if (!active_.contains(key)) keys.insert(Due{at, place.turn, key});
            return;
        }
        const std::uint64_t turn = turn_++;
        waiting_.emplace(key, Place{at, turn});
        if (!active_.contains(key)) order_.insert(Due{at, turn, key});
    }

    // The next key that is due, which is active from now until done(); none when max_active are.
    std::optional<Key> pop(Instant now, std::size_t max_active) {
        if (active_.size() >= max_active) return std::nullopt;
        admit(now);
        if (round_.empty()) return std::nullopt;
        const auto lane = lanes_.find(round_.front());
        std::set<Due>& keys = lane->second;
        Key key = keys.begin()->key;
        keys.erase(keys.begin());
        if (keys.empty()) {
            lanes_.erase(lane);
            round_.pop_front();
        } else {
            round_.splice(round_.end(), round_, round_.begin());
        }
        waiting_.erase(key);
        active_.insert(key);
        return key;
    }

    // The worker of `key` has ended.
    void done(const Key& key) {
        if (active_.erase(key) == 0) return;
        if (const auto found = waiting_.find(key); found != waiting_.end())
            order_.insert(Due{found->second.at, found->second.turn, key});
    }

    // Adds `key` after its backoff, and gives that delay; every call in a row without forget() doubles its
    // range.
    Duration retry(const Key& key, Instant now, double unit) {
        const Duration delay = full_jitter(backoff_, failures_[key]++, unit);
        add(key, now + delay);
        return delay;
    }
    // It went well, or is no more: the next retry starts at the floor.
    void forget(const Key& key) { failures_.erase(key); }
    // In a row.
    unsigned failures(const Key& key) const {
        const auto found = failures_.find(key);
        return found == failures_.end() ? 0 : found->second;
    }

    // When pop() could next give something, a moment in the past when it could give it now; nullopt: not
    // before an add() or a done().
    std::optional<Instant> next_wakeup(std::size_t max_active) const {
        if (active_.size() >= max_active) return std::nullopt;
        std::optional<Instant> next;
        if (!order_.empty()) next = order_.begin()->at;
        if (!round_.empty()) {
            const Instant due = lanes_.at(round_.front()).begin()->at;
            next = next ? std::min(*next, due) : due;
        }
        return next;
    }

    // Nothing waits any more; what is active stays so. For a stop.
    void clear() {
        waiting_.clear();
        order_.clear();
        lanes_.clear();
        round_.clear();
        failures_.clear();
    }

    std::size_t waiting() const { return waiting_.size(); }
    std::size_t active() const { return active_.size(); }

private:
    using Lane = std::remove_cvref_t<std::invoke_result_t<LaneOf, const Key&>>;

    struct Place {
        Instant at;
        std::uint64_t turn;
        bool is_due = false;  // it is in a lane
    };
    struct Due {
        Instant at;
        std::uint64_t turn;
        Key key;
        bool operator<(const Due& other) const {
            return at != other.at ? at < other.at : turn < other.turn;  // a turn is given once
        }
    };

    // Moves what has become due into its lane.
    void admit(Instant now) {
        while (!order_.empty() && order_.begin()->at <= now) {
            auto due = order_.extract(order_.begin());
            waiting_.at(due.value().key).is_due = true;
            const auto [lane, fresh] = lanes_.try_emplace(LaneOf()(due.value().key));
            if (fresh) round_.push_back(lane->first);
            lane->second.insert(std::move(due));
        }
    }

    Backoff backoff_;
    std::uint64_t turn_ = 0;
    std::map<Key, Place> waiting_;         // also those whose worker runs
    std::set<Due> order_;                  // those that are not due yet, and whose worker does not run
    std::map<Lane, std::set<Due>> lanes_;  // those that are due; no lane is empty
    std::list<Lane> round_;                // the lanes, in the order of their turns
    std::set<Key> active_;
    std::map<Key, unsigned> failures_;
};

}  // namespace keyshepherd::fsm
