#include <keyshepherd/core/skip_reason.hpp>
#include <keyshepherd/telemetry/metrics.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace keyshepherd::telemetry {
namespace {

testing::AssertionResult has(const Metrics& metrics, const std::string& line) {
    const std::string text = metrics.text();
    if (("\n" + text).find("\n" + line + "\n") != std::string::npos) return testing::AssertionSuccess();
    return testing::AssertionFailure() << line << " is not in\n" << text;
}

TEST(Metrics, EveryRowOfTheTableIsServedOnce) {
    const Metrics metrics;
    const std::string text = metrics.text();
    std::set<std::string_view> names;
    for (const MetricDescription& row : metric_table()) {
        EXPECT_TRUE(names.insert(row.name).second) << row.name;
        EXPECT_NE(text.find("# HELP " + std::string(row.name) + " " + std::string(row.help) + "\n"),
                  std::string::npos)
            << row.name;
    }
    std::size_t types = 0;
    for (std::size_t at = text.find("# TYPE "); at != std::string::npos; at = text.find("# TYPE ", at + 1))
        ++types;
    EXPECT_EQ(types, names.size());
}

TEST(Metrics, CountsByClosedLabels) {
    Metrics metrics;
    metrics.admission("untouched", "opted-out", true, 0.0001);
    metrics.http_request(200);
    metrics.session_opened();
    metrics.session_opened();
    metrics.session_closed("peer");
    EXPECT_TRUE(has(
        metrics,
        R"(keyshepherd_admission_requests_total{dry_run="true",outcome="untouched",reason="opted-out"} 1)"));
    EXPECT_TRUE(has(metrics, "keyshepherd_admission_duration_seconds_count 1"));
    EXPECT_TRUE(has(metrics, R"(keyshepherd_http_requests_total{code="200"} 1)"));
    EXPECT_TRUE(has(metrics, "keyshepherd_sessions 1"));
    EXPECT_TRUE(has(metrics, R"(keyshepherd_sessions_closed_total{reason="peer"} 1)"));
}

TEST(Metrics, CountsEachReasonForWhichAWorkloadIsLeftAlone) {
    for (const SkipReason reason : skip_reasons) {
        Metrics metrics;
        metrics.admission("untouched", text(reason), false, 0);
        EXPECT_TRUE(has(metrics,
                        "keyshepherd_admission_requests_total{dry_run=\"false\",outcome=\"untouched\","
                        "reason=\"" +
                            std::string(text(reason)) + "\"} 1"))
            << text(reason);
    }
}

TEST(Metrics, WhatIsOutsideASetMakesNoSeries) {
    Metrics metrics;
    const std::string before = metrics.text();
    metrics.admission("untouched", "sk-secret", false, 0);
    metrics.http_request(799);
    metrics.session_closed("sk-secret");
    EXPECT_TRUE(
        has(metrics,
            R"(keyshepherd_admission_requests_total{dry_run="false",outcome="other",reason="other"} 1)"));
    EXPECT_TRUE(has(metrics, R"(keyshepherd_http_requests_total{code="other"} 1)"));
    EXPECT_TRUE(has(metrics, R"(keyshepherd_sessions_closed_total{reason="other"} 1)"));
    EXPECT_EQ(std::ranges::count(before, '\n'), std::ranges::count(metrics.text(), '\n'));
}

}  // namespace
}  // namespace keyshepherd::telemetry
