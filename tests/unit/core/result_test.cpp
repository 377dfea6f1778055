#include <keyshepherd/core/result.hpp>

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace keyshepherd {
namespace {

result<int> read(int n) {
    if (n < 0) return fail(Errc::invalid, "is negative");
    return n;
}

result<std::unique_ptr<int>> read_only_movable(int n) {
    KEYSHEPHERD_TRY(const int value, read(n));
    return std::make_unique<int>(value);
}

result<std::string> twice(int a, int b, int* calls) {
    KEYSHEPHERD_TRY(auto first, read_only_movable(a));
    KEYSHEPHERD_TRY(const auto second, read(b));
    ++*calls;
    KEYSHEPHERD_TRY(first, read_only_movable(*first + second));  // assigns, too
    return std::to_string(*first);
}

TEST(Result, TryGivesTheValue) {
    int calls = 0;
    const auto sum = twice(1, 2, &calls);
    ASSERT_TRUE(sum) << sum.error().message;
    EXPECT_EQ(*sum, "3");
    EXPECT_EQ(calls, 1);
}

TEST(Result, TryReturnsTheFirstError) {
    int calls = 0;
    for (const auto& [a, b] : {std::pair{-1, 2}, std::pair{1, -2}}) {
        const auto sum = twice(a, b, &calls);
        ASSERT_FALSE(sum);
        EXPECT_EQ(sum.error().code, Errc::invalid);
        EXPECT_EQ(sum.error().message, "is negative");
    }
    EXPECT_EQ(calls, 0);
}

TEST(Result, FailKeepsCodeAndMessage) {
    for (const Errc code : {Errc::invalid, Errc::not_found, Errc::too_large, Errc::unavailable, Errc::timeout,
                            Errc::cancelled, Errc::internal}) {
        const result<void> failed = fail(code, "why");
        ASSERT_FALSE(failed);
        EXPECT_EQ(failed.error().code, code);
        EXPECT_EQ(failed.error().message, "why");
    }
    EXPECT_TRUE(result<void>());
}

}  // namespace
}  // namespace keyshepherd
