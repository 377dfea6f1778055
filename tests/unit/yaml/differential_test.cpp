// Against sigs.k8s.io/yaml itself: hack/tools.sh builds `yamltojson`, one process a document.
//
// What both read must be equal; what the oracle refuses, ours refuses; where only ours refuses, the reason is
// one of a short list. KEYSHEPHERD_DIFFERENTIAL=20000 tries more documents than the usual number.
#include "documents.hpp"

#include <keyshepherd/yaml/yaml.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>

namespace keyshepherd::yaml {
namespace {

namespace fs = std::filesystem;
using testing::Random;

std::string oracle() {
    const char* cache = std::getenv("KEYSHEPHERD_CACHE");
    const char* home = std::getenv("HOME");
    const fs::path root = cache != nullptr
                              ? fs::path(cache)
                              : fs::path(home == nullptr ? "/root" : home) / ".cache/keyshepherd";
    std::string newest;
    fs::file_time_type when{};
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(root, ignored)) {
        const fs::path program = entry.path() / "bin/yamltojson";
        if (!fs::exists(program, ignored)) continue;
        if (newest.empty() || fs::last_write_time(program) > when) newest = program.string();
        when = fs::last_write_time(program);
    }
    return newest;
}

// Runs the oracle on every text; nothing where it refuses.
std::vector<std::optional<std::string>> ask(const std::string& program,
                                            const std::vector<std::string>& texts) {
    std::string pattern = (fs::temp_directory_path() / "yaml-differential-XXXXXX").string();
    const fs::path folder = mkdtemp(pattern.data());
    for (std::size_t i = 0; i < texts.size(); ++i) {
        std::ofstream out(folder / std::to_string(i), std::ios::binary);
        out << texts[i];
        if (!texts[i].ends_with('\n')) out << '\n';  // as kubectl does, line by line
    }
    const std::string command = "cd " + folder.string() + " && ls | xargs -P2 -n64 sh -c 'for f; do \"" +
                                program + "\" <$f >$f.out 2>/dev/null || rm $f.out; done' sh";
    EXPECT_EQ(std::system(command.c_str()), 0);
    std::vector<std::optional<std::string>> answers;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        std::ifstream in(folder / (std::to_string(i) + ".out"), std::ios::binary);
        std::ostringstream text;
        text << in.rdbuf();
        answers.push_back(in.is_open() ? std::optional(text.str()) : std::nullopt);
    }
    fs::remove_all(folder);
    return answers;
}

// Documents in which about one node in forty is not YAML.
class Documents {
public:
    explicit Documents(std::uint64_t seed) : random_(seed) {}

    std::string next() {
        std::string out = random_.chance(90) ? "m: &m {p: 1, b: 7}\nl: &l {q: 2}\n" : "";
        out += random_.chance(85) || !out.empty() ? map(0, 0) : list(0, 0);
        if (random_.chance(25)) mutate(out);
        if (random_.chance(70)) out += '\n';
        return out;
    }

private:
    std::string scalar() {
        static const std::vector<std::string> good = {
            "plain",
            "a b  c",
            "true",
            "yes",
            "012",
            "0x1F",
            "1e3",
            "~",
            "null",
            "",
            "'it''s'",
            "\"a\\nb\\t\\u00e9\\x41\"",
            "\"x\"",
            "''",
            "1_000",
            "a #c",
            "a#b",
            "http://x/?a=b&c",
            "{a: 1}",
            "[1, 2]",
            "[a,b]",
            "{}",
            "[]",
            "*m",
            "!!str 12",
            "!!int \"3\"",
            "!foo bar",
            "! 1",
            "|\n        lit\n         more\n\n        x",
            "|-\n        lit",
            "|+\n        lit\n\n",
            ">\n        fold\n        ed\n\n         more\n        x\n        y",
            ">-\n        a\n        b",
            ">+\n\n        a\n\n",
            "\"multi\n        line\n\n        q\"",
            "'multi\n        line'",
            "plain\n        cont\n\n        more",
            "a\tb",
            "x\t",
            "a:b",
            "[a: b]",
            "{a, b: }",
            "[a, {b: c}]",
            "{a: [1,\n          2]}",
            "<<",
            "!!binary aGk=",
            "2001-01-01",
            "0b1",
            "\"a\\\n         b\"",
            "\"a \\\n\n        b\"",
            "\xd0\xba\xd0\xbb\xd1\x8e\xd1\x87",
            "\xf0\x9f\x8e\x89 x",
            "a?b",
            "[-1, -x]",
            "[a, ]",
            "{a: 1,}",
            "{\"a\":b}",
            "{\"a\": \"b\"}",
            "[\"a\":b]",
            "{a:b}",
            "a\\b",
            "!<tag:yaml.org,2002:int> 3",
            "!!float 3",
            "!!bool yes",
            ".5",
            "1.",
            "1:2",
            "12:30:45",
            "&l2 [1]",
            "-0",
            "1e400",
            "18446744073709551616",
            "-1",
            "+1",
            "08",
            "1.5e-7",
            "|2\n          x",
            "bom\xef\xbb\xbfx",
            "\"\\e\\N\\_\"",
            "'a: b'",
            "'#'",
            ".1_5",
            "{<<: *m, c: 1}",
            "{<<: [*m, *l]}",
            "[2001:db8::]",
            "[x, z:]",
            "{a: b:, c: [d:,\n          e:]}",
            "{\"a\":[x:], 'b':{}}",
        };
        static const std::vector<std::string> bad = {
            "- x",      "a: b",   "\tx",     "@x",       "`x",       "%x",          "x:",
            "*nobody",  "\"open", "'open",   "]",        "}",        "[a",          "{a",
            "!!null x", ".inf",   "|1\n x",  "key: - a", "\"a\": b", "[a?b, c]",    "{x: http://h/?q=1}",
            "&",        "*",      "!!int x", "[- ]",     "\"\\q\"",  "\"\\ud83d\"", "\"\\/\"",
        };
        return random_.chance(99) ? random_.pick(good) : random_.pick(bad);
    }

    std::string node(std::size_t indent, int depth) {
        const std::size_t kind = random_.below(100);
        if (depth > 3 || kind < 55) return " " + scalar();
        const std::string lead = random_.chance(80) ? "" : random_.chance(50) ? "  # comment" : " !!map";
        if (kind < 82) return lead + "\n" + map(indent + 1 + random_.below(3), depth + 1);
        return lead + "\n" + list(indent + (random_.chance(40) ? 0 : 2), depth + 1);
    }

    std::string map(std::size_t indent, int depth) {
        static const std::vector<std::string> keys = {"a",        "b",    "c",   "'q'",     "\"d\"",    "1",
                                                      "true",     "0x10", "? e", "<<",      "&k z",     "a b",
                                                      "\xc3\xa9", "1.5",  "k-1", "!!str 7", "http://x", ".5"};
        static const std::vector<std::string> colons = {":", ":", ":", " :", ":\t"};
        std::string out;
        const std::size_t first = random_.below(keys.size());
        const std::size_t n = 1 + random_.below(3);
        for (std::size_t i = 0; i < n; ++i) {
            const std::string key =
                random_.chance(98) ? keys[(first + i * 5) % keys.size()] : random_.pick(keys);
            if (i > 0) out += '\n';
            out += std::string(indent, ' ');
            if (key == "<<") {
                out += "<<: *m";
            } else if (key == "? e") {
                out += "? e\n" + std::string(indent, ' ') + ":" + node(indent, depth);
            } else {
                out += key + random_.pick(colons) + node(indent, depth);
            }
            if (random_.chance(8))
                out += "\n" + std::string(random_.below(5), ' ') + (random_.chance(60) ? "# c" : "");
        }
        return out;
    }

    std::string list(std::size_t indent, int depth) {
        std::string out;
        for (std::size_t n = 1 + random_.below(3); n > 0; --n) {
            if (!out.empty()) out += '\n';
            if (random_.chance(40)) {
                out += std::string(indent, ' ') + "- " + map(indent + 2, depth + 1).substr(indent + 2);
            } else if (depth < 3 && random_.chance(15)) {
                out += std::string(indent, ' ') + "- " + list(indent + 2, depth + 1).substr(indent + 2);
            } else {
                out += std::string(indent, ' ') + "-" + node(indent + 1, depth);
            }
        }
        return out;
    }

    void mutate(std::string& text) {
        static const std::string bytes = " \n:-#'\"{}[],&*!|>?\t\\%@.0a";
        const std::size_t at = random_.below(text.size());
        switch (random_.below(4)) {
            case 0:
                text.erase(at, 1);
                break;
            case 1:
                text.insert(at, 1, bytes[random_.below(bytes.size())]);
                break;
            case 2:
                text[at] = static_cast<unsigned char>(text[at]) < 0x80 ? bytes[random_.below(bytes.size())]
                                                                       : text[at];
                break;
            default:
                for (std::size_t i = 0; (i = text.find('\n', i)) != std::string::npos; i += 2)
                    text.insert(i, 1, '\r');
        }
    }

    Random random_;
};

// Why ours refuses what goyaml.v2 reads. It stops at the end of a first root scalar and drops the rest;
// yaml-cpp is stricter about what may stand in tags, behind aliases and in plain scalars.
constexpr std::string_view stricter[] = {
    "duplicate key",
    "nested more than 100 levels deep",
    "unexpected text after the document",
    "illegal character found while scanning",
    "illegal map value",
    "illegal flow end",
    "illegal block entry",
    "illegal map key",
    "the referenced anchor is not defined",
    "end of map not found",
    "end of sequence not found",
    "end of map flow not found",
    "indent with spaces",
    "unsupported YAML syntax",
    "add a '---' line before the text",
    "unsupported directive",
    "only a comment may follow",
    "control character U+FEFF",
    "expected ':' after a key",
    "unknown token",
    "invalid character in a tag",
    "expected a space after ':'",
    "tag handle with no suffix",
    "cannot assign multiple tags",
    "unexpected character after | or >",
    "bad character found while scanning",
    "a block list is not allowed inside brackets",
    "line break in YAML 1.1",
    "carriage return without",
};

TEST(Differential, ReadsWhatKubectlReads) {
    const std::string program = oracle();
    if (program.empty()) GTEST_SKIP() << "no yamltojson: run hack/tools.sh";
    const char* more = std::getenv("KEYSHEPHERD_DIFFERENTIAL");
    const std::size_t count = more == nullptr ? 2'000 : std::stoul(more);

    std::vector<std::string> texts;
    for (const auto& entry : fs::directory_iterator(KEYSHEPHERD_TESTS "/fuzz/corpus/yaml")) {
        std::ifstream in(entry.path(), std::ios::binary);
        texts.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    }
    const std::size_t corpus = texts.size();
    EXPECT_GE(corpus, 25U);
    Documents generate(20'260'724);
    while (texts.size() < corpus + count) {
        std::string text = generate.next();
        // The oracle takes one document: streams are kubectl's business, not its library's.
        const bool stream = text.starts_with("---") || text.starts_with("...") || text.starts_with('%') ||
                            text.contains("\n---") || text.contains("\n...") || text.contains("\n%");
        if (!stream) texts.push_back(std::move(text));
    }
    const auto answers = ask(program, texts);

    std::map<std::string, int> categories;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        const auto ours = read(texts[i]);
        if (i < corpus && ours && ours->size() > 1) {
            ++categories["corpus: a stream"];
            continue;
        }
        if (ours && ours->front().format == Format::json && !answers[i]) {
            ++categories["JSON, which kubectl reads by another decoder"];
            continue;
        }
        if (!answers[i]) {
            ++categories[ours ? "only the oracle refuses" : "both refuse"];
            EXPECT_FALSE(ours) << texts[i];
            continue;
        }
        if (!ours) {
            const auto reason = std::ranges::find_if(
                stricter, [&](std::string_view r) { return ours.error().message.contains(r); });
            ++categories["only ours refuses: " +
                         (reason == std::end(stricter) ? ours.error().message : std::string(*reason))];
            EXPECT_NE(reason, std::end(stricter)) << ours.error().message << '\n' << texts[i];
            continue;
        }
        std::ostringstream json;
        json << ours->front().json;
        const bool equal = nlohmann::json::parse(json.str()) == nlohmann::json::parse(*answers[i]);
        ++categories[equal ? "equal" : "different"];
        EXPECT_TRUE(equal) << texts[i] << "\noracle: " << *answers[i] << "ours:   " << json.str();
    }
    int refused = 0;
    for (const auto& [what, n] : categories) {
        std::cout << n << "  " << what << '\n';
        if (what.starts_with("only ours refuses")) refused += n;
    }
    EXPECT_GT(categories["equal"], static_cast<int>(count) * 2 / 5);
    EXPECT_GT(categories["both refuse"], static_cast<int>(count) / 20);
    EXPECT_LT(refused, static_cast<int>(count) * 4 / 100 + 5);
}

}  // namespace
}  // namespace keyshepherd::yaml
