// What a controller has to look at, and when. Pure: the caller tells the time and brings the randomness.
//
//     queue.add(key, now);                                    // something about key changed
//     while (auto key = queue.pop(now, 4)) spawn(work(*key)); // at most 4 at once
//     queue.done(key); queue.forget(key);                     // it went well; queue.add(key, now + resync)
//     queue.done(key); queue.retry(key, now, unit);           // it did not
//     sleep until queue.next_wakeup(4) or the next add
//
// Invariants: 1. A key waits at most once, for the earliest moment that was asked for. 2. A key is handed out
// to one worker at a time. 3. A key added while its worker runs is handed out once more afterwards, however
// often it was added. 4. pop() gives the key that is due the longest; ties in the order they were added.
#pragma once

#include <keyshepherd/fsm/backoff.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace keyshepherd::fsm {

template <class Key>
class WorkQueue {
public:
    explicit WorkQueue(Backoff backoff = {}) : backoff_(backoff) {}

    // Not before `at`; an earlier wish for the same key stays.
    void add(const Key& key, Instant at) {
        const auto found = waiting_.find(key);
        if (found != waiting_.end()) {
            if (found->second.at <= at) return;
            order_.erase(Due{found->second.at, found->second.turn, key});
            waiting_.erase(found);
        }
        const std::uint64_t turn = turn_++;
        waiting_.emplace(key, Place{at, turn});
        if (!active_.contains(key)) order_.insert(Due{at, turn, key});
    }

    // The next key that is due, which is active from now until done(); none when max_active are.
    std::optional<Key> pop(Instant now, std::size_t max_active) {
        if (active_.size() >= max_active || order_.empty() || order_.begin()->at > now) return std::nullopt;
        Key key = order_.begin()->key;
        order_.erase(order_.begin());
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

    // When pop() could next give something; nullopt: not before an add() or a done().
    std::optional<Instant> next_wakeup(std::size_t max_active) const {
        if (active_.size() >= max_active || order_.empty()) return std::nullopt;
        return order_.begin()->at;
    }

    // Nothing waits any more; what is active stays so. For a stop.
    void clear() {
        waiting_.clear();
        order_.clear();
        failures_.clear();
    }

    std::size_t waiting() const { return waiting_.size(); }
    std::size_t active() const { return active_.size(); }

private:
    struct Place {
        Instant at;
        std::uint64_t turn;
    };
    struct Due {
        Instant at;
        std::uint64_t turn;
        Key key;
        bool operator<(const Due& other) const {
            return at != other.at ? at < other.at : turn < other.turn;  // a turn is given once
        }
    };

    Backoff backoff_;
    std::uint64_t turn_ = 0;
    std::map<Key, Place> waiting_;  // also those whose worker runs
    std::set<Due> order_;           // those whose worker does not
    std::set<Key> active_;
    std::map<Key, unsigned> failures_;
};

}  // namespace keyshepherd::fsm
