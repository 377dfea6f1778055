// Quantities come out as the API server stores them: a spelling of ours that it would change makes every
// apply differ.
#include "quantity.hpp"

#include <gtest/gtest.h>

namespace keyshepherd::inject {
namespace {

std::string canonical(std::string_view text) {
    const auto quantity = parse_quantity(text);
    return quantity ? quantity->canonical : "refused";
}

struct Row {
    const char* given;
    const char* stored;
};

TEST(Quantity, IsSpeltAsTheApiServerStoresIt) {
    for (const Row& row : {
             Row{"0.1", "100m"},
             {"100m", "100m"},
             {"0.5", "500m"},
             {"1000m", "1"},
             {"1500m", "1500m"},
             {"2000m", "2"},
             {"1", "1"},
             {"1.5", "1500m"},
             {"01", "1"},
             {"1.0", "1"},
             {".5", "500m"},
             {"5.", "5"},
             {"0", "0"},
             {"0m", "0"},
             {"0Mi", "0"},
             {"0.0", "0"},
             {"1024Mi", "1Gi"},
             {"1536Mi", "1536Mi"},
             {"0.5Gi", "512Mi"},
             {"1.5Gi", "1536Mi"},
             {"64Mi", "64Mi"},
             {"65536Ki", "64Mi"},
             {"2048Gi", "2Ti"},
             {"1Ei", "1Ei"},
             {"1023Ki", "1023Ki"},
             {"100k", "100k"},
             {"1000k", "1M"},
             {"1500M", "1500M"},
             {"1000000", "1M"},
             {"128000000", "128M"},
             {"134217728", "134217728"},
             {"1024", "1024"},
             {"0.1Gi", "107374182400m"},
             {"0.001", "1m"},
             {"1P", "1P"},
             {"9E", "9E"},
         })
        EXPECT_EQ(canonical(row.given), row.stored) << row.given;
}

TEST(Quantity, CanonicalIsAFixedPoint) {
    for (const char* text : {"0.1", "1000m", "1024Mi", "1536Mi", "0.5Gi", "0.1Gi", "1000000", "1024", "0Mi",
                             "2048Gi", "1500M", "9E"})
        EXPECT_EQ(canonical(canonical(text)), canonical(text)) << text;
}

TEST(Quantity, KeepsItsValueInThousandths) {
    EXPECT_TRUE(parse_quantity("100m")->milli == 100);
    EXPECT_TRUE(parse_quantity("2")->milli == 2000);
    EXPECT_TRUE(parse_quantity("1Ki")->milli == 1024 * 1000);
    EXPECT_TRUE(parse_quantity("1k")->milli == 1000 * 1000);
    EXPECT_TRUE(parse_quantity("1Gi")->milli == parse_quantity("1024Mi")->milli);
    EXPECT_TRUE(parse_quantity("1G")->milli < parse_quantity("1Gi")->milli);
}

TEST(Quantity, RefusesWhatIsNoQuantity) {
    for (const char* text : {"",     " ",    ".",     "-1",   "-0",  "+1",   "1e3",      "1E3",  "12x",
                             "64mb", "64MB", "64mi",  "1K",   "1ki", "Mi",   "m",        "1 Gi", " 1",
                             "1 ",   "1..2", "1.2.3", "0x10", "1,5", "none", "\xc2\xbd", "1mm",  "1iM"})
        EXPECT_EQ(canonical(text), "refused") << '"' << text << '"';
}

TEST(Quantity, RefusesWhatIsFinerThanAThousandth) {
    for (const char* text : {"0.0001", "1.5m", "1n", "1u", "0.00000001"})
        EXPECT_EQ(canonical(text), "refused") << text;
}

// The API server caps at 2^63-1; so much of anything is a typing error, and arithmetic on it must not
// overflow.
TEST(Quantity, RefusesWhatDoesNotFit) {
    for (const char* text : {"999999999999999999Ei", "999999999999999999E", "99999999999999999999", "100Ei",
                             "10E", "16Ei", "8Ei", "999999999999999999Pi"})
        EXPECT_EQ(canonical(text), "refused") << text;
}

}  // namespace
}  // namespace keyshepherd::inject
