// Short lists are searched and long ones sorted: both find the same entry.
#include "env_index.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace keyshepherd::inject {
namespace {

TEST(EnvIndex, FindsTheLastEntryOfAName) {
    EXPECT_EQ(EnvIndex().last("A"), std::nullopt);
    EXPECT_EQ(EnvIndex(nullptr).last(""), std::nullopt);
    for (const std::size_t others : {0U, 1U, 15U, 16U, 17U, 1000U}) {
        json::array env;
        const auto add = [&](const std::string& name) { env.push_back(json::object{{"name", name}}); };
        add("A");
        for (std::size_t i = 0; i < others; ++i) add(fmt::format("B{}", i));
        add("A");
        add("Z");
        env.emplace_back(nullptr);
        const EnvIndex index(&env);
        EXPECT_EQ(index.last("A"), others + 1);
        EXPECT_EQ(index.last("Z"), others + 2);
        EXPECT_EQ(index.last(""), others + 3) << "an entry without a name";
        EXPECT_EQ(index.last("B"), std::nullopt);
        EXPECT_EQ(index.last("ZZ"), std::nullopt);
        EXPECT_EQ(index.last("0"), std::nullopt);
    }
}

}  // namespace
}  // namespace keyshepherd::inject
