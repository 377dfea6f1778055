#include <keyshepherd/telemetry/log.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace keyshepherd::telemetry {
namespace {

nlohmann::json line_of(std::string_view msg, Fields fields = {}) {
    return nlohmann::json::parse("{" + encode(Format::json, Level::info, msg, fields) + "}");
}

TEST(Log, WritesOneJsonObjectWithTypedValues) {
    const auto line =
        line_of("serving", {{"text", "a b"}, {"flag", true}, {"count", 3u}, {"long", -1L}, {"ms", 0.25}});
    EXPECT_EQ(
        line,
        nlohmann::json::parse(
            R"({"level":"info","msg":"serving","text":"a b","flag":true,"count":3,"long":-1,"ms":0.25})"));
}

TEST(Log, EscapesWhatWouldBreakALine) {
    const std::string nasty = std::string("a\"b\\c\nd\re\tf") + '\0' + "\x1b[31m\x7f";
    const std::string encoded = encode(Format::json, Level::info, "m", {{"v", nasty}});
    EXPECT_EQ(encoded.find('\n'), std::string::npos);
    EXPECT_EQ(encoded.find('\x1b'), std::string::npos);
    EXPECT_EQ(line_of("m", {{"v", nasty}})["v"], nasty);
}

TEST(Log, KeepsUtf8AndReplacesWhatIsNone) {
    EXPECT_EQ(line_of("m", {{"v", "naïve 鍵 🔑"}})["v"], "naïve 鍵 🔑");
    for (const char* bad :
         {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\xf0\x9f\x94"}) {
        const std::string shown = line_of("m", {{"v", bad}})["v"];
        EXPECT_TRUE(shown.starts_with("\xEF\xBF\xBD")) << shown;
    }
}

TEST(Log, CutsALongValueBetweenCharacters) {
    for (std::size_t shift = 0; shift < 4; ++shift) {
        std::string value(shift, 'x');
        while (value.size() < 5000) value += "🔑";
        const std::string shown = line_of("m", {{"v", value}})["v"];
        EXPECT_LE(shown.size(), 1024u + 3);
        EXPECT_GT(shown.size(), 1000u);
        EXPECT_TRUE(shown.ends_with("…"));
    }
}

TEST(Log, NeverWritesAnotherLineInTextEither) {
    EXPECT_EQ(encode(Format::text, Level::warn, "denied",
                     {{"name", "web"}, {"why", "a b"}, {"n", 1}, {"none", ""}}),
              "warn  denied name=web why=\"a b\" n=1 none=\"\"");
    EXPECT_EQ(encode(Format::text, Level::error, "m", {{"v", "x\nerror forged=1"}}),
              "error m v=\"x\\nerror forged=1\"");
}

TEST(Log, ShowsWhatWouldDeceiveAReader) {
    const std::string deceptive =
        "user\u202enimda\u2066 \xc2\x9b"
        "31m \u2028 \U000e0041";
    for (const Format format : {Format::json, Format::text})
        EXPECT_NE(encode(format, Level::info, "m", {{"v", deceptive}})
                      .find(R"("user\u202enimda\u2066 \u009b31m \u2028 \udb40\udc41")"),
                  std::string::npos);
    EXPECT_EQ(line_of("m", {{"v", deceptive}})["v"], deceptive);
    EXPECT_EQ(encode(Format::text, Level::info, "a\nb\x1b", {}), "info  a\\nb\\x1b");
}

TEST(Log, NotANumberIsNull) {
    EXPECT_TRUE(line_of("m", {{"v", 0.0 / 0.0}})["v"].is_null());
}

TEST(Log, NamesTheLevelsItKnows) {
    EXPECT_EQ(parse_level("warn"), Level::warn);
    EXPECT_EQ(parse_format("text"), Format::text);
    const auto wrong = parse_level("loud");
    ASSERT_FALSE(wrong);
    EXPECT_NE(wrong.error().message.find("trace, debug, info, warn, error"), std::string::npos);
}

TEST(Log, IsSilentBelowItsLevel) {
    testing::internal::CaptureStderr();
    Log log(Level::warn, Format::json);
    log.info("quiet");
    log.warn("loud", {{"n", 1}});
    const std::string out = testing::internal::GetCapturedStderr();
    EXPECT_EQ(out.find("quiet"), std::string::npos);
    const auto line = nlohmann::json::parse(out);
    EXPECT_EQ(line["msg"], "loud");
    EXPECT_EQ(std::string(line["ts"]).size(), std::string("2026-11-24T06:39:00.123Z").size());
    EXPECT_TRUE(out.ends_with("}\n"));
}

}  // namespace
}  // namespace keyshepherd::telemetry
