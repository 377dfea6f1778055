#include "support/workload_generator.hpp"

#include <keyshepherd/json/value.hpp>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace keyshepherd::json {
namespace {

value of(std::string_view text) {
    return parse(text).value();
}

std::string nested(std::size_t depth, char open = '[', char close = ']') {
    return std::string(depth, open) + std::string(depth, close);
}

// ---- limits
// ----------------------------------------------------------------------------------------------------------------

TEST(Scan, AHundredLevelsAndNotOneMore) {
    EXPECT_TRUE(parse(nested(100)));
    std::string objects;
    for (int i = 0; i < 100; ++i) objects += "{\"a\":";
    objects += "1" + std::string(100, '}');
    EXPECT_TRUE(parse(objects));
    for (const std::string& text : {nested(101), "{\"a\":" + objects + "}", std::string(1'000'000, '['),
                                    "{\"a\":" + std::string(101, '[')}) {
        const auto parsed = parse(text);
        ASSERT_FALSE(parsed);
        EXPECT_EQ(parsed.error().code, Errc::too_large);
        EXPECT_EQ(parsed.error().message, "nested more than 100 levels deep");
    }
    EXPECT_TRUE(parse("[[1],[2],[[3]]]", {}, {.depth = 3}));
    EXPECT_FALSE(parse("[[1],[2],[[[3]]]]", {}, {.depth = 3}));
}

TEST(Scan, DepthIsWhatIsOpenNotWhatWasOpened) {
    std::string text = "[";
    for (int i = 0; i < 1000; ++i) text += "[{}],";
    EXPECT_TRUE(parse(text + "0]", {}, {.depth = 3}));
}

TEST(Scan, BracketsInTextsAreText) {
    EXPECT_TRUE(parse(fmt::format(R"(["{}"])", std::string(5000, '[')), {}, {.depth = 1}));
    EXPECT_TRUE(
        parse(R"(["\"[[[[[", "\\", "[[[\\\"[", "\u005b[[", "a,b,c,d,e,f"])", {}, {.depth = 1, .nodes = 7}));
    EXPECT_TRUE(parse(R"({"[[[{{{\\":"]]]}}}"})", {}, {.depth = 1}));
    // The quote behind two backslashes closes, so these brackets count.
    EXPECT_FALSE(scan(R"(["\\",[[[]]]])", {.depth = 3}));
    EXPECT_TRUE(scan(R"(["\\\",[[[]]]"])", {.depth = 3}));
    EXPECT_TRUE(scan("[\"\\"));  // ends inside an escape
}

TEST(Scan, NodesAreCountedBeforeATreeIsBuilt) {
    auto list = [](std::size_t n) {
        std::string text = "[0";
        for (std::size_t i = 1; i < n; ++i) text += ",0";
        return text + "]";
    };
    EXPECT_TRUE(parse(list(299'999)));
    for (const std::string& text :
         {list(300'001), "[" + std::string(300'001, ',') + "]", std::string(300'001, '{')}) {
        const auto parsed = parse(text, {}, {.depth = 1'000'000});
        ASSERT_FALSE(parsed);
        EXPECT_EQ(parsed.error().code, Errc::too_large);
        EXPECT_EQ(parsed.error().message, "more than 300000 values");
    }
    std::string empties = "[";
    for (int i = 0; i < 150'001; ++i) empties += "[],";
    EXPECT_FALSE(scan(empties));
}

TEST(Scan, SaysNothingAboutSyntax) {
    for (const char* text : {"", "}", "]]]]", "\"", "nonsense", "{{{"}) EXPECT_TRUE(scan(text)) << text;
}

// ---- parsing
// ---------------------------------------------------------------------------------------------------------------

class Malformed : public testing::TestWithParam<std::string> {};

TEST_P(Malformed, GivesTheByteAndNeverTheText) {
    const auto parsed = parse(GetParam());
    ASSERT_FALSE(parsed) << bj::serialize(*parsed);
    EXPECT_EQ(parsed.error().code, Errc::invalid);
    EXPECT_TRUE(parsed.error().message.starts_with("invalid JSON")) << parsed.error().message;
    EXPECT_EQ(parsed.error().message.find("sk-"), std::string::npos) << parsed.error().message;
}

INSTANTIATE_TEST_SUITE_P(Json, Malformed,
                         testing::Values("", " ", "{", "[", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,",
                                         "[1", "[1,", "[1,]", "{\"a\":1,}", "{,}", "{a:1}", "{'a':1}", "nul",
                                         "tru", "True", "NaN", "Infinity", "-", "-a", "01", "1.", ".5", "1e",
                                         "1e+", "+1", "0x1", "\"sk-secret", "\"\\x\"", "\"\\u12\"",
                                         "\"\\ud800\"", "\"a\nb\"", "\"a\tb\"", "\"\xff\"", "\"\xc0\x80\"",
                                         "\"\xed\xa0\x80\"", "{} {}", "1 2", "{}sk-secret", "[]]", "{}}",
                                         "\xef\xbb\xbf{}", "// c\n1", "/* c */1", std::string("1\0", 2),
                                         std::string("\0", 1), "{\"sk-secret\":sk-secret}",
                                         "[\"sk-secret\",sk-secret]"));

TEST(Parse, PointsAtTheByte) {
    auto offset = [](std::string_view text) {
        const std::string message = parse(text).error().message;
        const std::string_view lead = "invalid JSON at byte ";
        EXPECT_EQ(message.substr(0, lead.size()), lead);
        return std::stoul(message.substr(lead.size()));
    };
    EXPECT_EQ(offset("{\"a\":x}"), 5U);
    EXPECT_EQ(offset("[1,2,3] x"), 8U);
    EXPECT_EQ(offset("[1,2,3"), 6U);
    EXPECT_EQ(offset("[1 2]"), 3U);
}

TEST(Parse, TakesWhatJsonIs) {
    EXPECT_EQ(of(" {\"a\" : [1, -2, 3.5, true, false, null, \"\\u00fc\\n\"] } \n").at("a").as_array().size(),
              7U);
    EXPECT_EQ(of("\"\\ud83d\\udd11\""), value("\U0001F511"));
    EXPECT_EQ(of("18446744073709551615").as_uint64(), 18446744073709551615U);
    EXPECT_EQ(of("-9223372036854775808").as_int64(), std::numeric_limits<std::int64_t>::min());
    EXPECT_EQ(bj::serialize(of("9007199254740993")), "9007199254740993");
    EXPECT_TRUE(of("18446744073709551616").is_double());
    EXPECT_EQ(of(R"({"a":1,"a":2})").at("a").as_int64(), 2) << "the last one of a name counts, as in Go";
}

// What is taken can be said again: an infinity could not.
TEST(Parse, RefusesANumberPastADouble) {
    for (const std::string& text : {std::string("1e400"), std::string("[-1e400]"),
                                    std::string("{\"a\":{\"b\":[0,1e999999]}}"), std::string(400, '9')}) {
        const auto parsed = parse(text);
        ASSERT_FALSE(parsed) << bj::serialize(*parsed);
        EXPECT_EQ(parsed.error().code, Errc::invalid);
    }
    for (const char* text : {"1e300", "1e-400", "1.7976931348623157e308"}) {
        const auto parsed = parse(text);
        ASSERT_TRUE(parsed) << text;
        EXPECT_TRUE(equal(of(bj::serialize(*parsed)), *parsed)) << text;
    }
}

TEST(Parse, UsesTheStorageItIsGiven) {
    bj::monotonic_resource arena;
    const auto parsed =
        json::parse(R"({"a":[{"b":"a text that is too long for any small buffer"}]})", &arena);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->storage().get(), &arena);
    EXPECT_EQ(parsed->at("a").at(0).at("b").storage().get(), &arena);
}

TEST(Parse, AnyBytesGetAnAnswer) {
    generate::Random random(20261124);
    const std::string alphabet = "{}[],:\"\\0123456789.eE+-truefalsn \n\x01\xc3\xbc\xff";
    std::size_t good = 0;
    for (int i = 0; i < 50'000; ++i) {
        std::string text;
        for (std::size_t n = random.below(12); n > 0; --n) text += alphabet[random.below(alphabet.size())];
        const auto parsed = parse(text);
        if (!parsed) continue;
        ++good;
        EXPECT_TRUE(equal(of(bj::serialize(*parsed)), *parsed)) << text;
    }
    EXPECT_GT(good, 500U);
}

// ---- walking
// ---------------------------------------------------------------------------------------------------------------

TEST(Escape, IsRfc6901) {
    EXPECT_EQ(escape(""), "");
    EXPECT_EQ(escape("a/b~c"), "a~1b~0c");
    EXPECT_EQ(escape("~1/~0"), "~01~1~00");
    EXPECT_EQ(escape("keyshepherd.dev/injected"), "keyshepherd.dev~1injected");
}

// The examples of RFC 6901, section 5.
TEST(At, IsRfc6901) {
    const value doc =
        of(R"({"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8})");
    ASSERT_NE(at(doc, ""), nullptr);
    EXPECT_TRUE(equal(*at(doc, ""), doc));
    EXPECT_EQ(*at(doc, "/foo/0"), value("bar"));
    const std::vector<std::pair<const char*, int>> members = {{"/", 0},     {"/a~1b", 1}, {"/c%d", 2},
                                                              {"/e^f", 3},  {"/g|h", 4},  {"/i\\j", 5},
                                                              {"/k\"l", 6}, {"/ ", 7},    {"/m~0n", 8}};
    for (const auto& [pointer, want] : members) {
        ASSERT_NE(at(doc, pointer), nullptr) << pointer;
        EXPECT_EQ(*at(doc, pointer), value(want)) << pointer;
    }
    for (const char* absent : {"/nothing", "/foo/2", "/foo/-", "/foo/01", "/foo/0/x", "foo", "/foo/x"})
        EXPECT_EQ(at(doc, absent), nullptr) << absent;
}

TEST(Find, WalksMembersAndTreatsNullAsAbsent) {
    const value doc = of(R"({"a":{"b":{"c":"text"},"l":[1],"n":null}})");
    EXPECT_EQ(find_text(doc, {"a", "b", "c"}), "text");
    EXPECT_NE(find_object(doc, {"a", "b"}), nullptr);
    EXPECT_NE(find_array(doc, {"a", "l"}), nullptr);
    EXPECT_EQ(find(doc, {"a", "n"}), nullptr);
    EXPECT_EQ(find(doc, {"a", "l", "0"}), nullptr);
    EXPECT_EQ(find(doc, {"a", "b", "c", "d"}), nullptr);
    EXPECT_EQ(find_text(doc, {"a", "b"}), "");
    EXPECT_EQ(find_object(doc, {"a", "l"}), nullptr);
    EXPECT_EQ(find_array(doc, {"a", "b"}), nullptr);
    EXPECT_EQ(find(value(nullptr), {}), nullptr);
}

// ---- equal and fingerprint
// ---------------------------------------------------------------------------------------------------

struct Pair {
    const char *a, *b;
    bool same;
};

class Equal : public testing::TestWithParam<Pair> {};

TEST_P(Equal, AsJson) {
    const value a = of(GetParam().a), b = of(GetParam().b);
    EXPECT_EQ(equal(a, b), GetParam().same);
    EXPECT_EQ(equal(b, a), GetParam().same);
    EXPECT_EQ(fingerprint(a) == fingerprint(b), GetParam().same);
}

INSTANTIATE_TEST_SUITE_P(
    Json, Equal,
    testing::Values(
        Pair{"1", "1", true}, Pair{"1", "1.0", false}, Pair{"1", "2", false}, Pair{"1.5", "1.50", true},
        Pair{"0.0", "-0.0", true}, Pair{"-1", "18446744073709551615", false},
        Pair{"9007199254740993", "9007199254740992", false}, Pair{"null", "false", false},
        Pair{"0", "false", false}, Pair{"0", "\"0\"", false}, Pair{"\"\"", "null", false},
        Pair{"[]", "{}", false}, Pair{"[]", "null", false}, Pair{"[1,2]", "[2,1]", false},
        Pair{"[1]", "[1,1]", false}, Pair{"[[1],2]", "[1,[2]]", false},
        Pair{R"({"a":1,"b":2})", R"({"b":2,"a":1})", true}, Pair{R"({"a":1})", R"({"a":1,"b":null})", false},
        Pair{R"({"a":"b"})", R"({"b":"a"})", false}, Pair{R"({"a":1,"b":2})", R"({"a":2,"b":1})", false},
        Pair{R"({"a":{"b":[{"c":1,"d":2}]}})", R"({"a":{"b":[{"d":2,"c":1}]}})", true},
        Pair{R"("\u00fc")", "\"ü\"", true}, Pair{R"(["a","b"])", R"(["ab"])", false},
        Pair{R"(["a",""])", R"(["","a"])", false}));

TEST(Equal, SignedAndUnsignedHoldTheSameNumber) {
    EXPECT_TRUE(equal(value(std::int64_t{5}), value(std::uint64_t{5})));
    EXPECT_TRUE(equal(value(std::uint64_t{5}), value(std::int64_t{5})));
    EXPECT_FALSE(equal(value(std::int64_t{-1}), value(std::uint64_t{18446744073709551615U})));
    EXPECT_EQ(fingerprint(value(std::int64_t{5})), fingerprint(value(std::uint64_t{5})));
}

// Markers of older versions hold these: a change here rolls every workload out anew.
TEST(Fingerprint, IsTheSameInEveryVersion) {
    const std::vector<std::pair<const char*, const char*>> committed = {
        {"null", "5692161d100b05e5"},
        {"true", "dbd238973a2b148a"},
        {"false", "1e535eede31428f0"},
        {"0", "e220a8397b1dcdaf"},
        {"-1", "16b1cba95fc60262"},
        {"35", "4d5cb825dfaab05b"},
        {"1.5", "33319ea9692d6cb0"},
        {"\"\"", "9c760a83a5b346ce"},
        {"\"HOLYSHEEP_API_KEY\"", "5b4b3b4687499ec9"},
        {"[]", "0000000000000007"},
        {"{}", "d56b1fbb9ceba9e8"},
        {"[1,\"a\",null]", "1873f430c15beef2"},
        {R"({"a":1,"b":[true,{"c":"ü"}]})", "d798bf0d0f962872"}};
    for (const auto& [text, want] : committed) EXPECT_EQ(fingerprint(of(text)), want) << text;
}

TEST(Fingerprint, DiffersForEveryChange) {
    std::vector<std::string> texts;
    for (const char* leaf : {"null", "true", "0", "1", "\"\"", "\"a\"", "[]", "{}"})
        for (const char* shape : {"{}", "[{}]", "[[{}]]", "{{\"a\":{}}}", "{{\"b\":{}}}", "[{},0]", "[0,{}]",
                                  "{{\"a\":{{\"b\":{}}}}}", "{{\"a\":{0},\"b\":{0}}}"})
            texts.push_back(fmt::format(fmt::runtime(shape), leaf));
    std::vector<std::string> prints;
    for (const std::string& text : texts) prints.push_back(fingerprint(of(text)));
    std::sort(prints.begin(), prints.end());
    std::vector<std::string> distinct = texts;
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    prints.erase(std::unique(prints.begin(), prints.end()), prints.end());
    EXPECT_EQ(prints.size(), distinct.size());
}

}  // namespace
}  // namespace keyshepherd::json
