// Reading, editing and printing a document cost in proportion to it. yaml-cpp's own loops are not counted.
#include "growth.hpp"

#include <keyshepherd/yaml/yaml.hpp>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

namespace keyshepherd::cost {
namespace {

template <class Make>
std::string joined(std::size_t n, std::string_view separator, Make make) {
    std::string all;
    for (std::size_t i = 0; i < n; ++i) {
        if (i > 0) all += separator;
        all += make(i);
    }
    return all;
}

void expect_linear_read(std::string_view what, std::size_t n,
                        const std::function<std::string(std::size_t)>& make) {
    cost::expect_linear(what, n, [&](std::size_t size) {
        return [text = make(size), what] {
            const auto read = yaml::read(text);
            EXPECT_TRUE(read) << what << ": " << read.error().message;
        };
    });
}

TEST(YamlCost, Reading) {
    const auto number = [](const char* form) {
        return [form](std::size_t i) { return fmt::format(fmt::runtime(form), i); };
    };
    expect_linear_read("documents", 300,
                       [&](std::size_t n) { return joined(n, "\n---\n", number("a: {}")); });
    expect_linear_read("JSON documents", 300,
                       [&](std::size_t n) { return joined(n, "\n", number(R"({{"a":{}}})")); });
    expect_linear_read("keys", 500, [&](std::size_t n) { return joined(n, "\n", number("key-{}: a")); });
    expect_linear_read("elements", 500, [&](std::size_t n) { return joined(n, "\n", number("- {}")); });
    expect_linear_read("one line of maps", 500,
                       [&](std::size_t n) { return "[" + joined(n, ", ", number("{{a: {}}}")) + "]"; });
    expect_linear_read("one line of lists within a key", 500,
                       [&](std::size_t n) { return "x: {" + joined(n, ", ", number("k{}: [a, b]")) + "}"; });
    expect_linear_read("JSON on one line", 500, [&](std::size_t n) {
        return "{" + joined(n, ",", number(R"("k{}":[1,{{}}])")) + "}";
    });
    expect_linear_read("anchors and aliases", 300, [&](std::size_t n) {
        return joined(n, "\n", number("a{0}: &x{0} [1]\nb{0}: *x{0}"));
    });
    expect_linear_read("merges", 300, [&](std::size_t n) {
        return "base: &base {a: 1}\nall:\n" + joined(n, "\n", number("  k{}: {{<<: *base, b: 2}}"));
    });
    expect_linear_read("a plain text of many lines", 1'000,
                       [&](std::size_t n) { return "a: " + joined(n, "\n  ", number("line {}")); });
    expect_linear_read("a quoted text of many lines", 1'000,
                       [&](std::size_t n) { return "a: \"" + joined(n, "\n  ", number("line {}")) + "\""; });
    expect_linear_read("a block of many lines", 1'000, [&](std::size_t n) {
        return "a: |+\n  " + joined(n, "\n\n  ", number("line {}")) + "\n\n";
    });
    expect_linear_read("comments", 1'000,
                       [&](std::size_t n) { return joined(n, "\n", number("# {}")) + "\na: b # c\n"; });
}

TEST(YamlCost, AliasesAreCountedAsExpanded) {
    const std::string text = fmt::format("a: &a {}\nb: [{}]\n", std::string(1 << 20, 'x'),
                                         joined(1'000, ", ", [](std::size_t) { return "*a"; }));
    const auto read = yaml::read(text);
    ASSERT_FALSE(read) << "a gigabyte out of a megabyte";
    EXPECT_EQ(read.error().code, Errc::too_large);
    EXPECT_EQ(read.error().message,
              "line 2, column 253: more than 67108864 bytes of text after alias expansion");
    EXPECT_TRUE(yaml::read(fmt::format("a: &a {}\nb: [*a, *a]\n", std::string(1 << 20, 'x'))));
}

// Each list names the one before it many times: nothing of that may be expanded, or even copied, to find out.
TEST(YamlCost, AliasesAreRefusedBeforeTheWork) {
    const auto bomb = [](std::size_t lists) {
        return "a0: &a0 [x, x]\n" + joined(lists, "\n", [](std::size_t i) {
                   return fmt::format("a{0}: &a{0} [*a{1}, *a{1}, *a{1}, *a{1}]", i + 1, i);
               });
    };
    EXPECT_LE(bomb(30).size(), 1'100U);
    const auto refused = [](std::string text) {
        return [text = std::move(text)] {
            const auto read = yaml::read(text);
            ASSERT_FALSE(read);
            EXPECT_EQ(read.error().code, Errc::too_large);
            EXPECT_TRUE(read.error().message.contains("excessive aliasing"));
        };
    };
    cost::expect_linear("an alias bomb", 30, [&](std::size_t n) { return refused(bomb(n)); });
    // Written out, a kilobyte costs no less.
    const std::uint64_t plain =
        steps_of([text = joined(150, "\n", [](std::size_t i) { return fmt::format("k{}: a", i); })] {
            EXPECT_TRUE(yaml::read(text));
        });
    EXPECT_LT(steps_of(refused(bomb(30))), 10 * plain);
    const std::string merges = "a0: &a0 {x: 1}\n" + joined(30, "\n", [](std::size_t i) {
                                   return fmt::format("a{0}: &a{0} {{<<: [*a{1}, *a{1}]}}", i + 1, i);
                               });
    EXPECT_LT(steps_of(refused(merges)), 10 * plain);
}

TEST(YamlCost, Lines) {
    expect_linear("lines", 300, [](std::size_t n) {
        const std::string text = fmt::format(
            "{{{}, items: [{}]}}", joined(n, ", ", [](std::size_t i) { return fmt::format("k{}: a", i); }),
            joined(n, ",\n", [](std::size_t i) { return std::to_string(i); }));
        return [n, documents = yaml::read(text).value()] {
            yaml::Lines lines(documents.front());
            for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(lines.at(fmt::format("/items/{}", i)), i + 1);
        };
    });
}

void expect_linear_apply(std::string_view what, std::size_t n,
                         const std::function<std::string(std::size_t)>& text,
                         const std::function<std::string(std::size_t)>& patch) {
    cost::expect_linear(what, n, [&](std::size_t size) {
        return [documents = yaml::read(text(size)).value(),
                operations = json::parse(patch(size)).value().as_array(), what] {
            const auto applied = yaml::apply(documents.front(), operations);
            EXPECT_TRUE(applied) << what << ": " << applied.error().message;
        };
    });
}

TEST(YamlCost, Applying) {
    const auto list = [](std::size_t n) {
        return "l:\n" + joined(n, "\n", [](std::size_t i) { return fmt::format("  - name: v{}", i); }) + "\n";
    };
    const auto map = [](std::size_t n) {
        return "m:\n" + joined(n, "\n", [](std::size_t i) { return fmt::format("  k{}: a", i); }) + "\n";
    };
    const auto patch = [](const auto& operation) {
        return [operation](std::size_t n) { return "[" + joined(n, ",", operation) + "]"; };
    };
    expect_linear_apply("inserting at the front", 200, list, patch([](std::size_t i) {
                            return fmt::format(R"({{"op":"add","path":"/l/{}","value":{{"name":"n"}}}})", i);
                        }));
    expect_linear_apply("inserting between", 200, list, patch([](std::size_t i) {
                            return fmt::format(R"({{"op":"add","path":"/l/{}","value":1}})", 2 * i);
                        }));
    expect_linear_apply("replacing", 200, list, patch([](std::size_t i) {
                            return fmt::format(R"({{"op":"replace","path":"/l/{}/name","value":"n"}})", i);
                        }));
    expect_linear_apply("removing every other", 200, list, [](std::size_t n) {
        return "[" +
               joined(n / 2, ",",
                      [n](std::size_t i) {
                          return fmt::format(R"({{"op":"remove","path":"/l/{}"}})", n - 1 - 2 * i);
                      }) +
               "]";
    });
    expect_linear_apply("members", 200, map, patch([](std::size_t i) {
                            return fmt::format(R"({{"op":"replace","path":"/m/k{}","value":"b"}})", i);
                        }));
    expect_linear_apply("new members", 200, map, patch([](std::size_t i) {
                            return fmt::format(R"({{"op":"add","path":"/m/n{}","value":"b"}})", i);
                        }));
    expect_linear_apply(
        "on one line", 200,
        [](std::size_t n) {
            return "{l: [" + joined(n, ", ", [](std::size_t i) { return fmt::format("{{a: {}}}", i); }) +
                   "]}\n";
        },
        patch([](std::size_t i) {
            return fmt::format(R"({{"op":"add","path":"/l/{}","value":{{"a":"new"}}}})", i);
        }));
    expect_linear_apply("a map that replaces one", 200, map, [&](std::size_t n) {
        return R"([{"op":"replace","path":"/m","value":{)" +
               joined(n, ",", [](std::size_t i) { return fmt::format(R"("k{}":"b")", 2 * i); }) + "}}]";
    });
}

}  // namespace
}  // namespace keyshepherd::cost
