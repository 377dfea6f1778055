#include <keyshepherd/fsm/bulk_read.hpp>

#include <gtest/gtest.h>

namespace keyshepherd::fsm {
namespace {

using namespace std::chrono_literals;

constexpr Instant start{1000s};

void expect(BulkRead& bulk, int looks, Instant at) {
    for (int i = 0; i < looks; ++i) bulk.expect(at);
}

TEST(BulkRead, AFewAreReadSingly) {
    BulkRead bulk(8);
    EXPECT_EQ(bulk.look(start, 20s), Look::singly);
    expect(bulk, 6, start + 5s);
    expect(bulk, 100, start + 21s);  // too late for an answer of now
    EXPECT_EQ(bulk.look(start, 20s), Look::singly);
    bulk.expect(start + 20s);
    EXPECT_EQ(bulk.look(start, 20s), Look::ask) << "this look and seven more";
    EXPECT_EQ(bulk.look(start + 6s, 10s), Look::singly) << "what is past counts no more";
}

TEST(BulkRead, OneAsksAndTheOthersWait) {
    BulkRead bulk(1);
    ASSERT_EQ(bulk.look(start, 2s), Look::ask);
    bulk.asked(start);
    EXPECT_EQ(bulk.look(start + 1s, 2s), Look::wait);
    EXPECT_EQ(bulk.look(start + 3s, 2s), Look::singly) << "its answer would be too old";
    bulk.answered(start + 1s, 10);
    EXPECT_FALSE(bulk.asking());
    EXPECT_EQ(bulk.look(start + 2s, 2s), Look::kept);
    EXPECT_EQ(bulk.age(start + 2s), 2s) << "since it was asked for, not since it came";
    EXPECT_EQ(bulk.look(start + 2s + 1ns, 2s), Look::singly)
        << "one that takes long is not asked at once again";
    EXPECT_EQ(bulk.look(start + 2s + 1ns, 3s), Look::kept) << "by each look's own measure";
    EXPECT_EQ(bulk.look(start + 4s, 2s), Look::ask);
}

TEST(BulkRead, AListOfManyOthersDoesNotPay) {
    BulkRead bulk(8);
    expect(bulk, 20, start + 1s);
    ASSERT_EQ(bulk.look(start, 5s), Look::ask);
    bulk.asked(start);
    bulk.answered(start, 10'000);
    expect(bulk, 2'000, start + 20s);
    EXPECT_EQ(bulk.look(start + 19s, 5s), Look::singly);
    expect(bulk, 2'999, start + 21s);
    EXPECT_EQ(bulk.look(start + 19s, 5s), Look::ask) << "half of all";
}

TEST(BulkRead, ARefusalIsRememberedAndTheLastAnswerAgesOn) {
    BulkRead bulk(1);
    EXPECT_EQ(bulk.age(start), std::nullopt);
    bulk.asked(start);
    bulk.failed(start + 1s, 1h);
    EXPECT_EQ(bulk.look(start + 2s, 10s), Look::singly);
    EXPECT_EQ(bulk.look(start + 1h, 10s), Look::singly);
    ASSERT_EQ(bulk.look(start + 1s + 1h, 10s), Look::ask);
    const Instant later = start + 2h;
    bulk.asked(later);
    bulk.answered(later, 5);
    bulk.asked(later + 11s);
    bulk.failed(later + 12s, 1min);
    EXPECT_EQ(bulk.look(later + 12s, 10s), Look::singly);
    EXPECT_EQ(bulk.look(later + 12s, 12s), Look::kept);
}

}  // namespace
}  // namespace keyshepherd::fsm
