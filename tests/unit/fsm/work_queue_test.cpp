#include <keyshepherd/fsm/work_queue.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace keyshepherd::fsm {
namespace {

using namespace std::chrono_literals;

constexpr Instant start{1000s};
using Queue = WorkQueue<std::string>;

TEST(WorkQueue, AKeyWaitsOnceForTheEarliestMoment) {
    Queue queue;
    queue.add("a", start + 5s);
    queue.add("a", start + 9s);
    EXPECT_EQ(queue.next_wakeup(1), start + 5s);
    queue.add("a", start + 2s);
    EXPECT_EQ(queue.next_wakeup(1), start + 2s);
    EXPECT_EQ(queue.waiting(), 1U);
    EXPECT_EQ(queue.pop(start + 1s, 1), std::nullopt);
    EXPECT_EQ(queue.pop(start + 2s, 1), "a");
    queue.done("a");
    EXPECT_EQ(queue.pop(start + 99s, 1), std::nullopt);
}

TEST(WorkQueue, OneWorkerAKeyAndATriggerMeanwhileRunsOnceMore) {
    Queue queue;
    queue.add("a", start);
    ASSERT_EQ(queue.pop(start, 9), "a");
    for (int i = 0; i < 5; ++i) queue.add("a", start);
    EXPECT_EQ(queue.pop(start, 9), std::nullopt);
    EXPECT_EQ(queue.next_wakeup(9), std::nullopt);  // not before done()
    queue.done("a");
    EXPECT_EQ(queue.pop(start, 9), "a");
    queue.done("a");
    EXPECT_EQ(queue.pop(start, 9), std::nullopt);
}

TEST(WorkQueue, NoMoreThanMaxActive) {
    Queue queue;
    for (const char* key : {"a", "b", "c"}) queue.add(key, start);
    EXPECT_EQ(queue.pop(start, 2), "a");
    EXPECT_EQ(queue.pop(start, 2), "b");
    EXPECT_EQ(queue.pop(start, 2), std::nullopt);
    EXPECT_EQ(queue.next_wakeup(2), std::nullopt);
    queue.done("a");
    EXPECT_EQ(queue.next_wakeup(2), start);
    EXPECT_EQ(queue.pop(start, 2), "c");
}

TEST(WorkQueue, RetriesBackOffUntilForgotten) {
    Queue queue({1s, 60s});
    EXPECT_EQ(queue.retry("a", start, 1.0), 1s);
    EXPECT_EQ(queue.failures("a"), 1U);
    ASSERT_EQ(queue.pop(start + 1s, 1), "a");
    queue.done("a");
    EXPECT_EQ(queue.retry("a", start, 1.0), 2s);
    EXPECT_EQ(queue.retry("a", start, 1.0), 4s);
    EXPECT_EQ(queue.next_wakeup(1), start + 2s);  // the earlier one stays
    queue.forget("a");
    EXPECT_EQ(queue.failures("a"), 0U);
    EXPECT_EQ(queue.retry("a", start, 1.0), 1s);
}

TEST(WorkQueue, AStopDropsWhatWaits) {
    Queue queue;
    queue.add("a", start);
    queue.add("b", start);
    ASSERT_EQ(queue.pop(start, 1), "a");
    queue.add("a", start);
    queue.clear();
    queue.done("a");
    EXPECT_EQ(queue.pop(start, 1), std::nullopt);
    EXPECT_EQ(queue.waiting() + queue.active(), 0U);
}

// The same by plain lists.
class Oracle {
public:
    void add(int key, Instant at) {
        for (Entry& each : waiting_)
            if (each.key == key) {
                if (at < each.at) each = Entry{key, at, turn_++};
                return;
            }
        waiting_.push_back({key, at, turn_++});
    }
    std::optional<int> pop(Instant now, std::size_t max_active) {
        const auto best = next(max_active);
        if (best == waiting_.end() || best->at > now) return std::nullopt;
        const int key = best->key;
        waiting_.erase(best);
        active_.push_back(key);
        return key;
    }
    void done(int key) { std::erase(active_, key); }
    std::optional<Instant> next_wakeup(std::size_t max_active) {
        const auto best = next(max_active);
        return best == waiting_.end() ? std::nullopt : std::optional(best->at);
    }
    const std::vector<int>& active() const { return active_; }

private:
    struct Entry {
        int key;
        Instant at;
        int turn;
    };
    std::vector<Entry>::iterator next(std::size_t max_active) {
        auto best = waiting_.end();
        if (active_.size() >= max_active) return best;
        for (auto each = waiting_.begin(); each != waiting_.end(); ++each) {
            if (std::ranges::find(active_, each->key) != active_.end()) continue;
            if (best == waiting_.end() || std::pair(each->at, each->turn) < std::pair(best->at, best->turn))
                best = each;
        }
        return best;
    }
    std::vector<Entry> waiting_;
    std::vector<int> active_;
    int turn_ = 0;
};

TEST(WorkQueue, DoesWhatPlainListsDoOverRandomSchedules) {
    for (unsigned seed = 0; seed < 300; ++seed) {
        std::mt19937 random(seed);
        const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
        WorkQueue<int> queue({1s, 8s});
        Oracle oracle;
        Instant now = start;
        const int keys = 1 + below(6);
        const std::size_t max_active = 1 + static_cast<std::size_t>(below(4));
        for (int step = 0; step < 400; ++step) {
            const int key = below(keys);
            switch (below(6)) {
                case 0:
                case 1: {
                    const Instant at = now + std::chrono::seconds(below(6) - 1);
                    queue.add(key, at);
                    oracle.add(key, at);
                    break;
                }
                case 2:
                case 3: {
                    const auto popped = queue.pop(now, max_active);
                    ASSERT_EQ(popped, oracle.pop(now, max_active)) << "seed " << seed << " step " << step;
                    if (popped) {
                        ASSERT_LE(std::ranges::count(oracle.active(), *popped), 1);
                    }
                    ASSERT_LE(oracle.active().size(), max_active);
                    break;
                }
                case 4:
                    if (below(2) == 0) {
                        queue.done(key);
                        oracle.done(key);
                    } else {
                        oracle.add(key, now + queue.retry(key, now, 0.5));
                    }
                    break;
                default:
                    now += std::chrono::milliseconds(500 * below(4));
            }
            ASSERT_EQ(queue.next_wakeup(max_active), oracle.next_wakeup(max_active)) << "seed " << seed;
            ASSERT_EQ(queue.active(), oracle.active().size());
        }
    }
}

// ---- lanes

struct NamespaceOf {
    std::string operator()(const std::string& key) const { return key.substr(0, key.find('/')); }
};
using FairQueue = WorkQueue<std::string, NamespaceOf>;

TEST(WorkQueue, LanesTakeTurnsAndEachKeepsItsOrder) {
    FairQueue queue;
    for (const char* key : {"a/1", "a/2", "a/3", "b/1", "c/1", "c/2"}) queue.add(key, start);
    std::vector<std::string> order;
    while (const auto key = queue.pop(start, 9)) order.push_back(*key);
    EXPECT_EQ(order, (std::vector<std::string>{"a/1", "b/1", "c/1", "a/2", "c/2", "a/3"}));
    EXPECT_EQ(queue.waiting(), 0U);
}

TEST(WorkQueue, ALaneThatWasEmptyJoinsBehindTheOthers) {
    FairQueue queue;
    for (const char* key : {"a/1", "a/2", "b/1", "b/2"}) queue.add(key, start);
    EXPECT_EQ(queue.pop(start, 9), "a/1");
    queue.add("c/1", start);
    EXPECT_EQ(queue.pop(start, 9), "b/1");
    EXPECT_EQ(queue.pop(start, 9), "a/2");
    EXPECT_EQ(queue.pop(start, 9), "c/1");
    EXPECT_EQ(queue.pop(start, 9), "b/2");
}

// A thousand resources at the shortest period ask for a hundred looks a second, twice of what two workers do
TEST(WorkQueue, AThousandResourcesDoNotStarveANeighboursOne) {
    constexpr std::size_t workers = 2;
    constexpr std::size_t lanes = 2;
    constexpr Duration period = 10s;
    constexpr Duration look = 40ms;
    FairQueue queue;
    for (int i = 0; i < 1000; ++i) queue.add("busy/" + std::to_string(i), start);
    queue.add("calm/0", start + period);
    Instant now = start;
    std::size_t passed = 0;  // keys that were handed out since the neighbour's was due
    std::size_t longest = 0;
    std::size_t looks = 0;
    for (int round = 0; round < 5000; ++round, now += look) {
        std::vector<std::string> at_work;
        while (const auto key = queue.pop(now, workers)) {
            at_work.push_back(*key);
            if (*key == "calm/0") {
                longest = std::max(longest, passed);
                passed = 0;
                ++looks;
            } else if (period * (looks + 1) <= now - start) {
                ++passed;
            }
        }
        for (const std::string& key : at_work) {
            queue.add(key, key == "calm/0" ? Instant(start + period * (looks + 1)) : Instant(now + period));
            queue.done(key);
        }
    }
    EXPECT_EQ(looks, 19U) << "each of its periods";
    EXPECT_LE(longest, lanes + workers);
}

}  // namespace
}  // namespace keyshepherd::fsm
