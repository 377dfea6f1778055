#include "key_probe.hpp"

#include <gtest/gtest.h>

namespace keyshepherd::controller {
namespace {

using planner::Truth;

TEST(ProbeVerdict, IsNoOnlyWhereTheKeyIsRefused) {
    const net::Origin origin{.tls = true, .host = "a", .port = "443"};
    EXPECT_EQ(probe_verdict(origin, 200).truth, Truth::yes);
    for (const int status : {401, 403}) EXPECT_EQ(probe_verdict(origin, status).truth, Truth::no);
    for (const int status : {301, 302, 400, 404, 429, 500, 503}) {
        EXPECT_EQ(probe_verdict(origin, status).truth, Truth::unknown);
        EXPECT_EQ(probe_verdict(origin, status).reason, "UnexpectedAnswer");
    }
}

}  // namespace
}  // namespace keyshepherd::controller
