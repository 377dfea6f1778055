// The editor, held against nlohmann's implementation of RFC 6902.
#include "support/workload_generator.hpp"

#include <keyshepherd/json/editor.hpp>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <array>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace keyshepherd::json {
namespace {

using generate::Random;

value of(std::string_view text) {
    return parse(text).value();
}
nlohmann::json by_nlohmann(const value& v) {
    return nlohmann::json::parse(bj::serialize(v));
}

struct Edited {
    std::string document, patch;
};

template <class Edit>
Edited edited(std::string_view text, Edit change) {
    value document = of(text);
    Editor edit(document);
    change(edit);
    return {bj::serialize(document), std::move(edit).take()};
}

void expect(const Edited& got, std::string_view document, std::string_view patch) {
    EXPECT_EQ(got.document, document);
    EXPECT_EQ(got.patch, patch);
}

TEST(Editor, SetAddsReplacesAndLeavesTheEqualAlone) {
    expect(edited(R"({"a":{}})", [](Editor& e) { e.set("/a/b", 1); }), R"({"a":{"b":1}})",
           R"([{"op":"add","path":"/a/b","value":1}])");
    expect(edited(R"({"a":{"b":0,"c":2}})", [](Editor& e) { e.set("/a/b", 1); }), R"({"a":{"b":1,"c":2}})",
           R"([{"op":"replace","path":"/a/b","value":1}])");
    expect(edited(R"({"a":null})", [](Editor& e) { e.set("/a", 1); }), R"({"a":1})",
           R"([{"op":"replace","path":"/a","value":1}])");
    expect(edited(R"({"a":{"x":1,"y":[2]}})", [](Editor& e) { e.set("/a", of(R"({"y":[2],"x":1})")); }),
           R"({"a":{"x":1,"y":[2]}})", "[]");
    expect(edited(R"({"a":[1,2,3]})", [](Editor& e) { e.set("/a/1", 5); }), R"({"a":[1,5,3]})",
           R"([{"op":"replace","path":"/a/1","value":5}])");
    expect(edited(R"({"a":[1]})", [](Editor& e) { e.set("/a/0", 1); }), R"({"a":[1]})", "[]");
    expect(edited(R"({"a":1})", [](Editor& e) { e.set("/b", nullptr); }), R"({"a":1,"b":null})",
           R"([{"op":"add","path":"/b","value":null}])");
}

TEST(Editor, InsertGoesBeforeTheIndex) {
    expect(edited("{\"l\":[1,2]}", [](Editor& e) { e.insert("/l", 0, 0); }), "{\"l\":[0,1,2]}",
           R"([{"op":"add","path":"/l/0","value":0}])");
    expect(edited("{\"l\":[1,2]}", [](Editor& e) { e.insert("/l", 2, 3); }), "{\"l\":[1,2,3]}",
           R"([{"op":"add","path":"/l/2","value":3}])");
    expect(edited("{\"l\":[]}", [](Editor& e) { e.insert("/l", 0, 3); }), "{\"l\":[3]}",
           R"([{"op":"add","path":"/l/0","value":3}])");
    expect(edited("{\"l\":[[1]]}", [](Editor& e) { e.insert("/l/0", 1, 2); }), "{\"l\":[[1,2]]}",
           R"([{"op":"add","path":"/l/0/1","value":2}])");
}

TEST(Editor, AnAbsentOrNullListIsMadeInOneOperation) {
    expect(edited("{}", [](Editor& e) { e.insert("/l", 0, 1); }), "{\"l\":[1]}",
           R"([{"op":"add","path":"/l","value":[1]}])");
    expect(edited("{\"l\":null}", [](Editor& e) { e.append("/l", 1); }), "{\"l\":[1]}",
           R"([{"op":"replace","path":"/l","value":[1]}])");
    expect(edited("{}", [](Editor& e) { e.append("/l", of("[2]")); }), "{\"l\":[[2]]}",
           R"([{"op":"add","path":"/l","value":[[2]]}])");
    expect(edited("{\"l\":[null]}", [](Editor& e) { e.append("/l/0", 1); }), "{\"l\":[[1]]}",
           R"([{"op":"replace","path":"/l/0","value":[1]}])");
    expect(edited("{}", [](Editor& e) { e.append("/l", nullptr); }), "{\"l\":[null]}",
           R"([{"op":"add","path":"/l","value":[null]}])");
    expect(edited("{}", [](Editor& e) { e.append("/l", object()); }), "{\"l\":[{}]}",
           R"([{"op":"add","path":"/l","value":[{}]}])");
}

TEST(Editor, InsertEachIsAnInsertOfEveryElementInOrder) {
    const std::vector<Insertion> three = {{0, "7"}, {2, "8"}, {4, "9"}};
    expect(
        edited("{\"l\":[1,2]}", [&](Editor& e) { e.insert_each("/l", three); }), "{\"l\":[7,1,8,2,9]}",
        R"([{"op":"add","path":"/l/0","value":7},{"op":"add","path":"/l/2","value":8},{"op":"add","path":"/l/4","value":9}])");
    const std::vector<Insertion> front = {{0, "7"}, {1, "8"}};
    for (const char* absent : {"{}", "{\"l\":null}"})
        EXPECT_EQ(edited(absent, [&](Editor& e) { e.insert_each("/l", front); }).document, "{\"l\":[7,8]}");
    expect(edited("{}", [&](Editor& e) { e.insert_each("/l", front); }), "{\"l\":[7,8]}",
           R"([{"op":"add","path":"/l","value":[7]},{"op":"add","path":"/l/1","value":8}])");
    expect(edited("{\"l\":[1]}", [&](Editor& e) { e.insert_each("/l", {}); }), "{\"l\":[1]}", "[]");
}

TEST(Editor, RemoveEachIsARemoveOfEveryElementFromTheLast) {
    const std::vector<std::size_t> indexes = {0, 2, 3};
    expect(edited("{\"l\":[1,2,3,4,5]}", [&](Editor& e) { e.remove_each("/l", indexes); }), "{\"l\":[2,5]}",
           R"([{"op":"remove","path":"/l/3"},{"op":"remove","path":"/l/2"},{"op":"remove","path":"/l/0"}])");
    expect(edited("{}", [](Editor& e) { e.remove_each("/l", {}); }), "{}", "[]");
}

TEST(Editor, RemoveKeepsTheOrderOfTheOthers) {
    expect(edited(R"({"a":1,"b":2,"c":3,"d":4})", [](Editor& e) { e.remove("/b"); }),
           R"({"a":1,"c":3,"d":4})", R"([{"op":"remove","path":"/b"}])");
    expect(edited("{\"l\":[1,2,3]}", [](Editor& e) { e.remove("/l/0"); }), "{\"l\":[2,3]}",
           R"([{"op":"remove","path":"/l/0"}])");
    std::string many = "{", want = "{";
    for (int i = 0; i < 100; ++i) {
        many += fmt::format("{}\"{}\":{}", i == 0 ? "" : ",", i, i);
        if (i != 7) want += fmt::format("{}\"{}\":{}", i == 0 ? "" : ",", i, i);
    }
    EXPECT_EQ(edited(many + "}", [](Editor& e) { e.remove("/7"); }).document, want + "}");
}

TEST(Editor, PointersAreRfc6901) {
    expect(edited(R"({"a/b":{"c~d":1}})", [](Editor& e) { e.set("/a~1b/c~0d", 2); }), R"({"a/b":{"c~d":2}})",
           R"([{"op":"replace","path":"/a~1b/c~0d","value":2}])");
    expect(edited(R"({"~1":1})", [](Editor& e) { e.remove("/~01"); }), "{}",
           R"([{"op":"remove","path":"/~01"}])");
    expect(edited(R"({"":{"":1}})", [](Editor& e) { e.set("//", 2); }), R"({"":{"":2}})",
           R"([{"op":"replace","path":"//","value":2}])");
    expect(edited(R"({"0":1})", [](Editor& e) { e.set("/0", 2); }), R"({"0":2})",
           R"([{"op":"replace","path":"/0","value":2}])");
}

// A fault of the caller, and so an exception; nothing is recorded or changed.
TEST(Editor, AnythingElseThrows) {
    const std::string text = R"({"a":{"b":1},"l":[1,2],"s":"text","n":null})";
    const std::vector<std::pair<const char*, std::function<void(Editor&)>>> faults = {
        {"no pointer", [](Editor& e) { e.set("a", 1); }},
        {"the whole document", [](Editor& e) { e.set("", 1); }},
        {"absent parent", [](Editor& e) { e.set("/x/y", 1); }},
        {"null parent", [](Editor& e) { e.set("/n/y", 1); }},
        {"parent is a text", [](Editor& e) { e.set("/s/y", 1); }},
        {"below a text", [](Editor& e) { e.set("/s/y/z", 1); }},
        {"element past the end", [](Editor& e) { e.set("/l/2", 1); }},
        {"end of a list", [](Editor& e) { e.set("/l/-", 1); }},
        {"no index", [](Editor& e) { e.set("/l/x", 1); }},
        {"an empty index", [](Editor& e) { e.set("/l/", 1); }},
        {"a leading zero", [](Editor& e) { e.set("/l/01", 1); }},
        {"insert past the end", [](Editor& e) { e.insert("/l", 3, 1); }},
        {"insert into an object", [](Editor& e) { e.insert("/a", 0, 1); }},
        {"append to a text", [](Editor& e) { e.append("/s", 1); }},
        {"append below a text", [](Editor& e) { e.append("/s/l", 1); }},
        {"remove of what is absent", [](Editor& e) { e.remove("/x"); }},
        {"remove past the end", [](Editor& e) { e.remove("/l/2"); }},
        {"remove below a text", [](Editor& e) { e.remove("/s/x"); }},
        {"insertions with a gap",
         [](Editor& e) { e.insert_each("/l", std::vector<Insertion>{{0, "1"}, {4, "1"}}); }},
        {"insertions that do not ascend",
         [](Editor& e) { e.insert_each("/l", std::vector<Insertion>{{1, "1"}, {1, "1"}}); }},
        {"insertions into a text",
         [](Editor& e) { e.insert_each("/s", std::vector<Insertion>{{0, "1"}, {1, "1"}}); }},
        {"removals past the end", [](Editor& e) { e.remove_each("/l", std::vector<std::size_t>{0, 2}); }},
        {"removals that do not ascend",
         [](Editor& e) { e.remove_each("/l", std::vector<std::size_t>{1, 0}); }},
        {"removals from what is absent", [](Editor& e) { e.remove_each("/x", std::vector<std::size_t>{0}); }},
    };
    for (const auto& [what, fault] : faults) {
        value document = of(text);
        Editor edit(document);
        EXPECT_THROW(fault(edit), std::logic_error) << what;
        EXPECT_FALSE(edit.changed()) << what;
        EXPECT_EQ(bj::serialize(document), text) << what;
    }
}

TEST(Editor, LivesInTheDocumentsArena) {
    bj::monotonic_resource arena;
    value document =
        json::parse(R"({"a":{"b":["a text that is too long for any small buffer"]}})", &arena).value();
    Editor edit(document);
    edit.append("/a/b", "another text that is too long for any small buffer");
    edit.append("/a/c", value("foreign", {}));
    edit.set("/a/d", of(R"({"e":["made elsewhere, in the default storage"]})"));
    edit.remove("/a/b/0");
    EXPECT_EQ(document.at("a").at("d").at("e").storage().get(), &arena);
    EXPECT_EQ(document.at("a").at("c").storage().get(), &arena);
}

// ---- against a second implementation
// -----------------------------------------------------------------------------------------

constexpr std::array names = {"a", "b", "c/d", "e~f", "", "~1", "0", "ü"};

value tree(Random& random, int depth) {
    switch (random.below(depth > 0 ? 8 : 5)) {
        case 0:
            return nullptr;
        case 1:
            return random.chance(50);
        case 2:
            return static_cast<std::int64_t>(random.below(4));
        case 3:
            return 0.5 * static_cast<double>(random.below(4));
        case 4:
            return random.pick(names);
        case 5:
        case 6: {
            object members;
            for (std::size_t n = random.below(5); n > 0; --n)
                members[random.pick(names)] = tree(random, depth - 1);
            return members;
        }
        default: {
            array elements;
            for (std::size_t n = random.below(5); n > 0; --n) elements.push_back(tree(random, depth - 1));
            return elements;
        }
    }
}

// Every place of a document, root first.
void places(const value& v, const std::string& pointer, std::vector<std::string>& out) {
    out.push_back(pointer);
    if (v.is_object())
        for (const auto& member : v.get_object())
            places(member.value(), pointer + '/' + escape(member.key()), out);
    if (v.is_array())
        for (std::size_t i = 0; i < v.get_array().size(); ++i)
            places(v.get_array()[i], fmt::format("{}/{}", pointer, i), out);
}

TEST(Editor, RandomEditsAreTheirPatch) {
    Random random(20261124);
    std::map<std::string, std::size_t> done;
    for (int i = 0; i < 10000; ++i) {
        value document = object();
        document.as_object()["root"] = tree(random, 4);
        const nlohmann::json before = by_nlohmann(document);
        Editor edit(document);
        for (std::size_t n = random.below(8); n > 0; --n) {
            std::vector<std::string> all;
            places(document, "", all);
            const std::string pointer = random.pick(all);
            const value target = *at(document, pointer);
            value v = tree(random, 2);
            if (target.is_object() && random.chance(60)) {
                const std::string member = pointer + '/' + escape(random.pick(names));
                const value* there = at(document, member);
                if (random.chance(50) && (there == nullptr || there->is_null() || there->is_array())) {
                    edit.append(member, v);
                    ++done["append"];
                } else {
                    edit.set(member, v);
                    ++done["set"];
                }
            } else if (target.is_array() && random.chance(50)) {
                const std::size_t size = target.get_array().size();
                if (random.chance(50)) {
                    std::vector<Insertion> insertions;
                    for (std::size_t at = 0; at <= size + insertions.size(); ++at)
                        if (random.chance(40)) insertions.push_back({at, bj::serialize(tree(random, 2))});
                    edit.insert_each(pointer, insertions);
                    ++done["insert each"];
                } else {
                    std::vector<std::size_t> indexes;
                    for (std::size_t at = 0; at < size; ++at)
                        if (random.chance(40)) indexes.push_back(at);
                    edit.remove_each(pointer, indexes);
                    ++done["remove each"];
                }
            } else if (target.is_array() && random.chance(60)) {
                edit.insert(pointer, random.below(target.get_array().size() + 1), v);
                ++done["insert"];
            } else if (!pointer.empty() && pointer != "/root") {
                random.chance(50) ? edit.remove(pointer) : edit.set(pointer, v);
                ++done["remove or set"];
            }
        }
        const nlohmann::json patch = nlohmann::json::parse(std::move(edit).take());
        ASSERT_EQ(before.patch(patch), by_nlohmann(document)) << before << "\n" << patch;
    }
    for (const auto& [what, times] : done) EXPECT_GT(times, 500U) << what;
}

TEST(Editor, TakesAValueAsDeepAsADocumentMayBe) {
    const std::size_t depth = Limits().depth;
    const std::string deep = std::string(depth, '[') + std::string(depth, ']');
    value document = object();
    Editor edit(document);
    edit.append_json("/l", deep);
    edit.insert("/l", 0, of(deep));
    EXPECT_EQ(bj::serialize(document), fmt::format(R"({{"l":[{0},{0}]}})", deep));
}

}  // namespace
}  // namespace keyshepherd::json
