// Every folder of tests/golden/inject, held against its committed patch and result, against what a person
// wrote must be true of it, and against a second implementation of RFC 6902.
#include "support/golden.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

namespace keyshepherd {

namespace golden {
void PrintTo(const Case& c, std::ostream* out) {
    *out << c.name;
}
}  // namespace golden

namespace {

using nlohmann::json;

const char* verdict_name(inject::Verdict verdict) {
    switch (verdict) {
        case inject::Verdict::untouched:
            return "untouched";
        case inject::Verdict::injected:
            return "injected";
        case inject::Verdict::removed:
            return "removed";
        case inject::Verdict::denied:
            return "denied";
    }
    return "";
}

struct Injection {
    inject::Outcome outcome;
    keyshepherd::json::value object;
};

Injection run(const golden::Case& c, const std::string& input, const std::string& old) {
    Injection r{.outcome = {}, .object = keyshepherd::json::parse(input).value()};
    keyshepherd::json::value stored;
    if (!old.empty()) stored = keyshepherd::json::parse(old).value();
    const std::string kind(keyshepherd::json::find_text(r.object, {"kind"}));
    const std::string workload_namespace(keyshepherd::json::find_text(r.object, {"metadata", "namespace"}));
    r.outcome = inject::inject(
        r.object,
        {.kind = kind, .workload_namespace = workload_namespace, .old = old.empty() ? nullptr : &stored},
        c.catalog, c.settings);
    return r;
}

void hold(const std::filesystem::path& path, const json& got) {
    const std::string text = got.dump(1) + "\n";
    if (std::getenv("KEYSHEPHERD_UPDATE_GOLDEN") != nullptr) {
        std::ofstream(path, std::ios::binary) << text;
        return;
    }
    std::ifstream in(path, std::ios::binary);
    ASSERT_TRUE(in) << path << " is missing; KEYSHEPHERD_UPDATE_GOLDEN=1 writes it";
    const std::string want((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    EXPECT_EQ(text, want) << path << ": read the difference; KEYSHEPHERD_UPDATE_GOLDEN=1 accepts it";
}

// What a pointer of case.yaml leads to; behind "::" it goes on inside a text that is JSON itself
// (agent-config, injected).
const json* find(const json& root, std::string_view pointer, json& inner) {
    const std::size_t colons = pointer.find("::");
    const json::json_pointer outer{std::string(pointer.substr(0, colons))};
    if (!root.contains(outer)) return nullptr;
    if (colons == std::string_view::npos) return &root.at(outer);
    inner = json::parse(root.at(outer).get<std::string>());
    const json::json_pointer rest{std::string(pointer.substr(colons + 2))};
    return inner.contains(rest) ? &inner.at(rest) : nullptr;
}

class Golden : public testing::TestWithParam<golden::Case> {};

TEST_P(Golden, IsWhatItWasAndWhatAPersonSaysItMustBe) {
    const golden::Case& c = GetParam();
    const Injection r = run(c, c.input, c.old);
    EXPECT_EQ(verdict_name(r.outcome.verdict), c.expect.at("verdict").get<std::string>());
    if (c.expect.contains("reason")) EXPECT_EQ(r.outcome.reason, c.expect.at("reason").get<std::string>());

    const json patch = golden::operations(r.outcome);
    const json input = json::parse(c.input);
    json result = input;
    if (r.outcome.verdict == inject::Verdict::denied) {
        EXPECT_TRUE(patch.empty());
        EXPECT_FALSE(r.outcome.faults.empty());
    } else {
        result = golden::to_nlohmann(r.object);
        EXPECT_EQ(input.patch(patch), result) << "the patch and the edited object differ";
    }
    hold(c.folder / "patch.json", patch);
    hold(c.folder / "result.json", result);

    const json asserts = c.expect.value("assert", json::object());
    for (const auto& [pointer, want] : asserts.items()) {
        json inner;
        const json* got = find(result, pointer, inner);
        ASSERT_NE(got, nullptr) << "nothing at " << pointer;
        EXPECT_EQ(*got, want) << pointer;
    }
    for (const auto& pointer : c.expect.value("absent", json::array()))
        if (json inner; find(result, pointer.get<std::string>(), inner) != nullptr)
            ADD_FAILURE() << "something at " << pointer;

    // The cases' keys look like sk-…: a literal of the user's is in no patch, and in no message.
    EXPECT_EQ(patch.dump().find("sk-"), std::string::npos) << "the patch holds a secret";
    for (const auto& warning : r.outcome.warnings)
        EXPECT_EQ(warning.find("sk-"), std::string::npos) << warning;
    for (const auto& f : r.outcome.faults) EXPECT_EQ(f.message.find("sk-"), std::string::npos) << f.message;

    // Every fault and every warning is expected, and every expected one is there; a part of the text is
    // enough.
    const json faults = c.expect.value("faults", json::array());
    EXPECT_EQ(r.outcome.faults.size(), faults.size());
    for (std::size_t i = 0; i < std::min(faults.size(), r.outcome.faults.size()); ++i) {
        const auto& fault = r.outcome.faults[i];
        const std::string text = fmt::format("{}: {}", fault.field, fault.message);
        EXPECT_NE(text.find(faults[i].get<std::string>()), std::string::npos) << text;
    }
    const json warnings = c.expect.value("warnings", json::array());
    EXPECT_EQ(r.outcome.warnings.size(), warnings.size()) << json(r.outcome.warnings).dump(1);
    for (std::size_t i = 0; i < std::min(warnings.size(), r.outcome.warnings.size()); ++i)
        EXPECT_NE(r.outcome.warnings[i].find(warnings[i].get<std::string>()), std::string::npos)
            << r.outcome.warnings[i];
}

TEST_P(Golden, InjectedTwiceIsInjectedOnce) {
    const golden::Case& c = GetParam();
    if (run(c, c.input, c.old).outcome.verdict == inject::Verdict::denied) return;
    const Injection once = run(c, c.input, c.old);
    const std::string text = keyshepherd::json::bj::serialize(once.object);
    // As a new object of its own it would be injected by this version; what was stored by another one stays
    // what it is.
    const std::vector<std::string> olds =
        c.old.empty() ? std::vector<std::string>{"", text} : std::vector<std::string>{text};
    for (const std::string& old : olds) {
        const Injection twice = run(c, text, old);
        EXPECT_EQ(keyshepherd::json::bj::serialize(twice.object), text);
        EXPECT_TRUE(twice.outcome.patch.empty()) << twice.outcome.patch;
    }
}

std::string name_of(const testing::TestParamInfo<golden::Case>& info) {
    std::string name = info.param.name;
    for (char& ch : name)
        if (ch == '-' || ch == '.') ch = '_';
    return name;
}

INSTANTIATE_TEST_SUITE_P(Inject, Golden, testing::ValuesIn(golden::cases()), name_of);

}  // namespace
}  // namespace keyshepherd
