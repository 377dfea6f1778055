#include "documents.hpp"

#include <keyshepherd/yaml/yaml.hpp>

#include <gtest/gtest.h>

#include <sstream>

namespace keyshepherd::yaml {
namespace {

std::string message_of(std::string_view stream) {
    const auto documents = read(stream);
    return documents ? "accepted" : documents.error().message;
}

std::string json_of(std::string_view stream) {
    const auto documents = read(stream);
    if (!documents) return documents.error().message;
    std::ostringstream out;
    for (const Document& document : *documents)
        out << (&document == documents->data() ? "" : " ") << document.json;
    return out.str();
}

std::string joined(std::string_view stream) {
    std::string out;
    for (const Document& document : *read(stream)) out += document.separator + document.source;
    return out;
}

TEST(ReadTest, SplitsAStreamAndKeepsEveryByte) {
    const std::string stream =
        "\xef\xbb\xbf# licence\n%YAML 1.1\n--- # first\na: 1 # x\r\n# tail\n---\n\n---   \nb: |\n  text\n  "
        "--- no\n...\n# c\n---\n"
        "{\"c\": 1.0}\n---\n{\"d\":2}\n---\n";
    const auto documents = read(stream);
    ASSERT_TRUE(documents) << documents.error().message;
    EXPECT_EQ(json_of(stream), R"({"a":1} null {"b":"text\n--- no\n"} {"c":1E0} {"d":2} null)");
    EXPECT_EQ(joined(stream), stream);
    std::vector<std::size_t> lines;
    for (const Document& document : *documents) lines.push_back(document.line);
    EXPECT_EQ(lines, (std::vector<std::size_t>{4, 7, 9, 15, 17, 19}));
    EXPECT_EQ((*documents)[3].format, Format::json);
    EXPECT_EQ((*documents)[2].separator, "---   \n");
    EXPECT_EQ((*documents)[3].separator, "...\n# c\n---\n");
}

TEST(ReadTest, KeepsEveryByteOfRandomStreams) {
    testing::Generator generate(7);
    for (int i = 0; i < 300; ++i) {
        std::string stream;
        for (std::size_t n = 1 + generate.random.below(4); n > 0; --n) {
            stream += generate.write(generate.map(2));
            if (!stream.ends_with('\n')) stream += '\n';
            if (n > 1) stream += generate.random.chance(70) ? "---\n" : "...\n---\t# next\n";
        }
        const auto documents = read(stream);
        ASSERT_TRUE(documents) << documents.error().message << '\n' << stream;
        EXPECT_EQ(joined(stream), stream);
    }
}

TEST(ReadTest, TakesAnEmptyStreamForOneEmptyDocument) {
    for (const char* stream : {"", "\n", "# only\n", "\xef\xbb\xbf", "---", "---\n# c"})
        EXPECT_EQ(json_of(stream), "null") << stream;
    EXPECT_EQ(json_of("a: 1\n---"), R"({"a":1} null)");
}

TEST(ReadTest, ReadsJsonAsJsonAndFlowYamlAsYaml) {
    EXPECT_EQ(read("{\"a\":[1,{}]}")->front().format, Format::json);
    EXPECT_EQ(read(" \n[1]\n")->front().format, Format::json);
    EXPECT_EQ(read("{a: 1}")->front().format, Format::yaml);
    EXPECT_EQ(read("{\"a\": yes}")->front().format, Format::yaml);
    EXPECT_EQ(json_of("{\"a\": yes}"), R"({"a":true})");
    EXPECT_EQ(json_of("{\"a\":\"\\ud83c\\udf89\"}"), "{\"a\":\"\xf0\x9f\x8e\x89\"}");
    EXPECT_EQ(json_of("{\n\t\"a\": 1\n}"), R"({"a":1})");
    EXPECT_EQ(read("{}{}\n{}")->size(), 3U);
}

// What kubectl does with each stream was tried with `kubectl label --local -f - read=yes -o name` 1.37.
TEST(ReadTest, RefusesAJsonValueThatKubectlWouldDrop) {
    const std::string dropped =
        "add a '---' line before the second JSON value of this document; kubectl would ignore it otherwise";
    EXPECT_TRUE(message_of("---\n{\"a\":1}\n{\"b\":2}\n").ends_with(dropped));
    EXPECT_TRUE(message_of("---\n{\"a\":1}\n{\"b\":2}\n").starts_with("line 3"));
    EXPECT_TRUE(message_of("x: 1\n---\n{\"a\":1}\n\n  {\"b\":2}\n").starts_with("line 5"));
    EXPECT_TRUE(message_of("{\"a\":1}\n---\n{\"b\":2}{\"c\":3}\n").ends_with(dropped));
    EXPECT_TRUE(message_of("[1]\n[2]\n").ends_with(dropped));
    EXPECT_EQ(json_of("\n {\"a\":1}\n{\"b\":2}\n"), R"({"a":1} {"b":2})");
    EXPECT_EQ(json_of("\xef\xbb\xbf{\"a\":1}{\"b\":2}"), R"({"a":1} {"b":2})");
    EXPECT_EQ(json_of("---\n{\"a\":1}\n---\n{\"b\":2}\n"), R"({"a":1} {"b":2})");
}

// Each row was read by sigs.k8s.io/yaml 1.6.0; differential_test.cpp asks it about many more.
TEST(ReadTest, FoldsAndChompsAsLibyamlDoes) {
    EXPECT_EQ(json_of("a: one\n  two\n\n\n  three # c\n"), R"({"a":"one two\n\nthree"})");
    EXPECT_EQ(json_of("a: \"x \\\n   y\n\n   z\\n\"\n"), R"({"a":"x y\nz\n"})");
    EXPECT_EQ(json_of("a: \"x\\\n\n   y\"\n"), R"({"a":"x\ny"})");
    EXPECT_EQ(json_of("a: 'it''s\n  b'\n"), R"({"a":"it's b"})");
    EXPECT_EQ(json_of("a: |\n  x\n   y\n\n  z\n\nb: 1\n"), R"({"a":"x\n y\n\nz\n","b":1})");
    EXPECT_EQ(json_of("a: |-\n  x\n\nb: |+\n  y\n\n\nc: |\n"), R"({"a":"x","b":"y\n\n\n","c":""})");
    EXPECT_EQ(json_of("a: >\n  x\n  y\n\n   more\n  z\n  w\n"), R"({"a":"x y\n\n more\nz w\n"})");
    EXPECT_EQ(json_of("a: |2\n    x\n"), R"({"a":"  x\n"})");
    EXPECT_EQ(json_of("a: |\n x\nb: >\n y\n"), R"({"a":"x\n","b":"y\n"})");
    EXPECT_EQ(json_of("a:\n- |1\n  x\n"), R"({"a":[" x\n"]})");
    EXPECT_EQ(json_of("a: |\r\n  x\r\n  y\r\nb: \"c\r\n  d\"\r\n"), R"({"a":"x\ny\n","b":"c d"})");
    EXPECT_EQ(json_of("a: |\n  x"), R"({"a":"x\n"})") << "kubectl reads line by line";
}

// libyaml ends a plain scalar at a ':' before white space only.
TEST(ReadTest, TakesAColonWithinBracketsForText) {
    EXPECT_EQ(json_of("addresses: [2001:db8::]"), R"({"addresses":["2001:db8::"]})");
    EXPECT_EQ(json_of("a: [x, z:]"), R"({"a":["x","z:"]})");
    EXPECT_EQ(json_of("a: [2001:db8::, 'b', 2001:db8:1::,\n  fe80:: ]\nb: {c: d:, e: f:}"),
              R"({"a":["2001:db8::","b","2001:db8:1::",{"fe80:":null}],"b":{"c":"d:","e":"f:"}})");
    EXPECT_EQ(json_of("a: {x::}"), R"({"a":{"x::":null}})");
    EXPECT_EQ(json_of("a: {\"k\":[x:], \"l\":{}, 'm':[z:]}"), R"({"a":{"k":["x:"],"l":{},"m":["z:"]}})");
    EXPECT_EQ(json_of("a: [x\n  y:, \"it's\":]"), R"({"a":["x y:",{"it's":null}]})");
    // What stands before them must not confuse the scanner: texts that look like brackets, quotes or
    // comments.
    for (const char* before :
         {"k: it's [one\n", "k: |\n  \"one\n", "k: >-\n\n  'one\n", "k: |\n  it's \"one\" [\n",
          "- |\n it's [\n- ", "k: a\n  [it's\n", "k: [a] # it's [\n", "k: 'it''s ['\n", "k: \"[\\\"\"\n",
          "\"k[\": |-\n  it's\n\n  [\n", "k: &a |\n  it's [\n", "k: !!str it's[\n",
          "k:\n- it's [\n- >\n  it's {\n"}) {
        const bool list = std::string_view(before).starts_with('-');
        const std::string got = json_of(std::string(before) + (list ? "[z:]\n" : "a: [z:]\n"));
        EXPECT_TRUE(got.ends_with(list ? R"(["z:"]])" : R"("a":["z:"]})")) << before << got;
    }
    EXPECT_TRUE(message_of("a: [::1]").starts_with("line 1")) << "kubectl refuses it too";
    EXPECT_TRUE(message_of("a: [z:]\nb: [x:, {]\n").starts_with("line 2"))
        << message_of("a: [z:]\nb: [x:, {]\n");
}

TEST(ReadTest, SpellsKeysAsGoDoes) {
    EXPECT_EQ(
        json_of(
            "1e5: a\n1e6: b\n123456.5: c\n12345678.5: d\n0.0001: e\n0.00001: f\n0x10: g\nyes: h\n-.inf: i\n"),
        R"({"100000":"a","1e+06":"b","123456.5":"c","1.2345678e+07":"d","0.0001":"e","1e-05":"f","16":"g","true":"h","-.inf":"i"})");
}

TEST(ReadTest, FollowsMergeKeysAsGoyamlDoes) {
    EXPECT_EQ(json_of("b: &b {k: 1, m: 1}\nc: &c {k: 2}\nd:\n  k: 0\n  <<: [*c, *b]\n  m: 3\n"),
              R"({"b":{"k":1,"m":1},"c":{"k":2},"d":{"k":2,"m":3}})");
    EXPECT_EQ(json_of("a: {<<: {x: 1}, y: 2}"), R"({"a":{"x":1,"true":2}})");
    EXPECT_EQ(json_of("a: {\"<<\": 1}"), R"({"a":{"<<":1}})");
    EXPECT_EQ(message_of("a: 1\nb:\n  <<: 3\n"),
              "line 3, column 7: << must refer to a map or a list of maps");
}

TEST(ReadTest, NamesTheLineOfWhatIsWrong) {
    EXPECT_EQ(message_of("a: 1\nb: 2\na: 3\n"),
              "line 3, column 1: duplicate key \"a\": kubectl would ignore the first one");
    EXPECT_EQ(message_of("x: 1\n---\n# c\n1: a\n\"1\": b\n"),
              "line 5, column 1: duplicate key \"1\": kubectl would ignore the first one");
    EXPECT_EQ(message_of("{\"a\":1,\n\"\\u0061\":2}"),
              "line 2, column 1: duplicate key \"a\": kubectl would ignore the first one");
    EXPECT_EQ(message_of("\"a\\u202e\\e\\n\": 1\n\"a\\u202e\\e\\n\": 2\n"),
              "line 2, column 1: duplicate key \"a\\u{202e}\\x1b\\n\": kubectl would ignore the first one");
    EXPECT_EQ(message_of("a: 1\nb: \"x\n"), "line 2, column 4: the closing quote is missing");
    EXPECT_EQ(message_of("a: 'x\n\n"), "line 1, column 4: the closing quote is missing");
    EXPECT_EQ(message_of("a: \"x"), "line 1, column 6: the closing quote is missing");
    EXPECT_EQ(message_of("a: 1\n~: 2\n"), "line 2, column 1: a key cannot be null");
    EXPECT_EQ(message_of("a: 1\n[x]: 2\n"), "line 2, column 1: a key cannot be a list or a map");
    EXPECT_EQ(message_of("a: .inf\n"),
              "line 1, column 4: .inf and .nan are not allowed, because JSON cannot represent them");
    EXPECT_EQ(message_of("a: !!int x\n"), "line 1, column 4: the value is not a valid !!int");
    EXPECT_EQ(message_of("a: 1\nb: !!binary \"*\"\n"),
              "line 2, column 4: the !!binary value is not valid base64");
    EXPECT_EQ(message_of("a: 1\n...\nb: 2\n"),
              "line 3, column 1: add a '---' line before the text that follows '...'; kubectl would ignore "
              "it otherwise");
    EXPECT_EQ(
        message_of("--- {a: 1}\n"),
        "line 1, column 1: only a comment may follow '---' on the same line; kubectl rejects anything else");
    EXPECT_EQ(message_of("%YAML 1.2\n---\na: 1\n"),
              "line 1, column 1: unsupported directive; only %YAML 1.1 is supported");
    EXPECT_EQ(message_of("a:\n\tb: 1\n"), "line 2, column 1: indent with spaces, not tabs");
    EXPECT_TRUE(message_of("a: 1\nb: [1\n").starts_with("line 3, column ")) << message_of("a: 1\nb: [1\n");
    EXPECT_TRUE(message_of("a: 1\nb: c: d\n").starts_with("line 2, column "))
        << message_of("a: 1\nb: c: d\n");
    EXPECT_TRUE(message_of("{\"a\": 1\n").starts_with("line 2, column ")) << message_of("{\"a\": 1\n");
    EXPECT_TRUE(message_of("a: *nobody\n").starts_with("line 1, column ")) << message_of("a: *nobody\n");
}

TEST(ReadTest, NamesTheColumnInCharacters) {
    EXPECT_TRUE(message_of("\xc3\xa9\xc3\xa9: *nobody\n").starts_with("line 1, column 5: "));
    EXPECT_EQ(message_of("x: 1\n---\na:\n  b: {c: 1, c: 2}\n"),
              "line 4, column 13: duplicate key \"c\": kubectl would ignore the first one");
}

TEST(ReadTest, NamesTheItemOfAList) {
    const auto item = [](const std::string& stream) {
        const std::string message = message_of(stream);
        const std::size_t at = message.find("items[");
        return at == std::string::npos ? message : message.substr(0, message.find(": ", at));
    };
    const std::string list = "kind: List\nitems:\n- a: 1\n  b: {x: 1}\n- a: 2\n";
    EXPECT_EQ(item(list + "- a: 1\n  a: 2\n- b: 1\n"), "line 7, column 3: items[2]");
    EXPECT_TRUE(item(list + "- a: 1\n  b: c: d\n- b: 1\n").ends_with("items[2]"));
    // yaml-cpp finds these before the reader sees that their element begins.
    EXPECT_TRUE(item(list + "- @x\n").ends_with("items[2]")) << item(list + "- @x\n");
    EXPECT_TRUE(item("kind: List\nitems:\n  # c\n  - a\n  # c\n  - @x\n").ends_with("items[1]"));
    EXPECT_TRUE(item(list + "- b: c: d\n").ends_with("items[2]")) << item(list + "- b: c: d\n");
    EXPECT_TRUE(item(list + "# c\n- a: |\n    - x\n    - y\n  b: \"\\q\"\n").ends_with("items[2]"));
    EXPECT_TRUE(item("kind: List\nitems:\n  - a: 1\n  - - 1\n    - *x\n").ends_with("items[1]"));
    EXPECT_TRUE(item("{\"kind\":\"List\",\"items\":[{},\n{\"a\":1,\"a\":2}]}").ends_with("items[1]"));
    EXPECT_TRUE(item("{\"kind\":\"List\",\"items\":[{},\n{\"a\":}x]}").ends_with("items[1]"));
    EXPECT_FALSE(item(list + "kind: c: d\n").contains("items[")) << item(list + "kind: c: d\n");
    EXPECT_FALSE(item(list + "kind: again\n").contains("items["));
    EXPECT_FALSE(item("kind: c: d\nitems: []\n").contains("items["));
}

TEST(ReadTest, SaysThatATemplateMustBeRendered) {
    const std::string hint =
        "; the file contains '{{': render Helm templates first, for example with `helm template`";
    for (const char* text :
         {"kind: Deployment\nmetadata:\n  {{- include \"labels\" . | nindent 4 }}\n",
          "{{- if .Values.on }}\nkind: A\n{{- end }}\n", "kind: A\nname: {{ .Values.name }}\n",
          "a:\n{{- range .Values.l }}\n- {{ . }}\n{{- end }}\n"})
        EXPECT_TRUE(message_of(text).ends_with(hint)) << message_of(text);
    EXPECT_FALSE(message_of("a: [\n").contains("Helm"));
    EXPECT_EQ(json_of("a: \"{{ with secret }}\"\n"), R"({"a":"{{ with secret }}"})");
}

TEST(ReadTest, RefusesBytesThatAreNotUtf8) {
    using namespace std::string_literals;
    for (const std::string& bytes :
         {"\xff"s, "\xc3"s, "\xc0\x80"s, "\xed\xa0\x80"s, "\xf4\x90\x80\x80"s, "\xe2\x28\xa1"s, "\x80"s})
        EXPECT_EQ(message_of("k: 1\na: \"" + bytes + "\"\n"), "line 2, column 5: invalid UTF-8");
    EXPECT_EQ(message_of("a: b\0c\n"s), "line 1, column 5: control character U+0000 is not allowed");
    EXPECT_EQ(message_of("a: b\x7f\n"), "line 1, column 5: control character U+007F is not allowed");
    EXPECT_EQ(message_of("a: b\rc\n"), "line 1, column 5: carriage return without a line feed");
    EXPECT_EQ(message_of("a: b\xe2\x80\xa8y\n"),
              "line 1, column 5: U+2028 is a line break in YAML 1.1; write it as an escape sequence");
    EXPECT_NE(message_of("{\"a\":\"\xff\"}"), "accepted");
    EXPECT_NE(message_of("\xff\xfe"
                         "a\0"s),
              "accepted");
    EXPECT_EQ(json_of("a: !!binary /w==\n"), "{\"a\":\"\xef\xbf\xbd\"}");
}

TEST(ReadTest, StopsAtItsLimits) {
    const auto code_of = [](const std::string& stream) {
        const auto documents = read(stream);
        return documents                                   ? "accepted"
               : documents.error().code == Errc::too_large ? "too large"
                                                           : documents.error().message;
    };
    const auto nested = [](std::size_t depth, char open, char close) {
        return std::string(depth, open) + std::string(depth, close);
    };
    EXPECT_EQ(code_of(nested(100, '[', ']')), "accepted");
    EXPECT_EQ(code_of(nested(101, '[', ']')), "too large");
    EXPECT_EQ(code_of("x: " + nested(99, '[', ']')), "accepted");
    EXPECT_EQ(code_of("x: " + nested(100, '[', ']')), "too large");
    EXPECT_EQ(code_of("x: " + std::string(100'000, '[')), "too large");
    EXPECT_EQ(code_of(std::string(100'000, '[')), "too large");
    std::string block;
    for (int i = 0; i < 150; ++i) block += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
    EXPECT_EQ(code_of(block), "too large");

    std::string laughs = "a0: &a0 [x, x]\n";
    for (int i = 1; i < 30; ++i)
        laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) +
                  ", *a" + std::to_string(i - 1) + "]\n";
    EXPECT_EQ(code_of(laughs), "too large");
    std::string merges = "a0: &a0 {x: 1}\n";
    for (int i = 1; i < 40; ++i)
        merges += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " {<<: [*a" + std::to_string(i - 1) +
                  ", *a" + std::to_string(i - 1) + "]}\n";
    EXPECT_EQ(code_of(merges), "too large");
    std::string chain = "a0: &a0 [x]\n";  // deep only by aliases
    for (int i = 1; i < 150; ++i)
        chain +=
            "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + "]\n";
    EXPECT_EQ(code_of(chain), "too large");
    std::string wide = "a:\n";
    for (int i = 0; i < 4'000'001; ++i) wide += "-\n";
    EXPECT_EQ(code_of(wide), "too large");

    // As goyaml.v2 counts: up to 99 % of what a decoder visits may come from aliases.
    const auto repeated = [](int lists) {
        std::string text = "a: &a [x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x]\n";
        text += "b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: [";
        for (int i = 0; i < lists; ++i) text += "*b, ";
        return text + "]\n";
    };
    EXPECT_EQ(code_of(repeated(20)), "accepted");
    EXPECT_EQ(code_of(repeated(60)), "too large");

    EXPECT_EQ(message_of("a: &x [*x]\n"), "line 1, column 8: the alias refers to a value that contains it");
    EXPECT_EQ(message_of("a: &x\n  b: {c: *x}\n"),
              "line 2, column 10: the alias refers to a value that contains it");
    EXPECT_EQ(json_of("&x a: *x\n"), R"({"a":"a"})");
}

TEST(ReadTest, FindsTheLineOfAPointer) {
    const auto documents =
        read("# c\n---\n# d\nkind: List\nitems:\n# one\n- name: a\n- name: b\n  x: {z: [1,\n    2]}\n");
    ASSERT_TRUE(documents) << documents.error().message;
    const Document& document = documents->back();
    EXPECT_EQ(document.line, 4U);
    EXPECT_EQ(Lines(document).at(""), 4U);
    EXPECT_EQ(Lines(document).at("/items/0"), 7U);
    EXPECT_EQ(Lines(document).at("/items/1"), 8U);
    EXPECT_EQ(Lines(document).at("/items/1/x/z/1"), 10U);
    EXPECT_EQ(Lines(document).at("/items/7"), 4U);
    EXPECT_EQ(Lines(document).at("/nothing"), 4U);
    const auto json = read("{\"kind\":\"List\",\"items\":[\n{},\n{}]}");
    EXPECT_EQ(Lines(json->front()).at("/items/1"), 3U);
}

}  // namespace
}  // namespace keyshepherd::yaml
