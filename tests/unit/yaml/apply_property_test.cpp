// Law: read(apply(document, patch)).json is what RFC 6902 makes of the document's JSON, by a second
// implementation.
#include "documents.hpp"

#include <keyshepherd/yaml/yaml.hpp>

#include <gtest/gtest.h>

#include <map>
#include <sstream>

namespace keyshepherd::yaml {
namespace {

using testing::Generator;
using testing::Json;

nlohmann::json plain(const json::value& v) {
    std::ostringstream out;
    out << v;
    return nlohmann::json::parse(out.str());
}

// Every collection of `value`, by pointer.
void collections(const nlohmann::json& value, const std::string& at, std::vector<std::string>& found) {
    if (!value.is_structured()) return;
    found.push_back(at);
    for (const auto& [key, member] : value.items()) collections(member, at + "/" + json::escape(key), found);
}

nlohmann::json random_patch(Generator& generate, nlohmann::json value, std::map<std::string, int>& counts) {
    nlohmann::json patch = nlohmann::json::array();
    for (std::size_t n = 1 + generate.random.below(5); n > 0; --n) {
        std::vector<std::string> places;
        collections(value, "", places);
        if (places.empty()) break;
        const std::string place = generate.random.pick(places);
        const nlohmann::json& parent = value.at(nlohmann::json::json_pointer(place));
        nlohmann::json operation;
        const bool add = parent.empty() || generate.random.chance(55);
        std::string token;
        if (parent.is_array()) {
            const std::size_t index = generate.random.below(parent.size() + (add ? 1 : 0));
            token = add && generate.random.chance(20) ? "-" : std::to_string(index);
        } else {
            auto member = parent.begin();
            if (!add) std::advance(member, generate.random.below(parent.size()));
            token = add ? generate.key() : member.key();
        }
        operation["op"] = add ? "add" : generate.random.chance(60) ? "remove" : "replace";
        operation["path"] = place + "/" + json::escape(token);
        if (operation["op"] != "remove") operation["value"] = nlohmann::json::parse(generate.value(2).dump());
        ++counts[operation["op"].get<std::string>() + (parent.is_array() ? " in a list" : " in a map")];
        patch.push_back(operation);
        value = value.patch(nlohmann::json::array({operation}));
    }
    return patch;
}

TEST(ApplyProperty, MeansWhatRfc6902SaysAndKeepsComments) {
    constexpr int documents = 4'000;
    std::map<std::string, int> counts;
    int commented = 0;
    int kept = 0;
    for (int seed = 0; seed < documents; ++seed) {
        Generator generate(static_cast<std::uint64_t>(seed));
        const Json value = generate.random.chance(85) ? generate.map(4) : generate.value(4);
        const bool as_json = value.is_structured() && generate.random.chance(20);
        const std::string text =
            as_json ? value.dump(generate.random.chance(50) ? 2 : -1) + "\n" : generate.write(value);
        const auto before = read(text);
        ASSERT_TRUE(before) << "seed " << seed << ": " << before.error().message << "\n" << text;
        ASSERT_EQ(before->size(), 1U) << text;
        ASSERT_EQ(plain(before->front().json), nlohmann::json::parse(value.dump())) << "seed " << seed << "\n"
                                                                                    << text;

        const nlohmann::json patch = random_patch(generate, plain(before->front().json), counts);
        const auto parsed = json::parse(patch.dump());
        ASSERT_TRUE(parsed) << parsed.error().message;
        const auto after = apply(before->front(), parsed->as_array());
        ASSERT_TRUE(after) << "seed " << seed << ": " << after.error().message << "\n"
                           << text << "\n"
                           << patch.dump(1);
        const auto again = read(*after);
        ASSERT_TRUE(again) << "seed " << seed << ": " << again.error().message << "\n" << *after;
        ASSERT_EQ(plain(again->front().json), plain(before->front().json).patch(patch))
            << "seed " << seed << "\n"
            << text << "\n"
            << patch.dump(1) << "\n"
            << *after;
        if (as_json) {
            ASSERT_EQ(again->front().format, before->front().format) << *after;
        }
        ASSERT_EQ(text.contains("\r\n") && !as_json, after->contains("\r\n")) << "seed " << seed << "\n"
                                                                              << *after;
        ++counts[as_json ? "JSON" : "YAML"];
        if (text.starts_with("# top")) {
            ++commented;
            kept += after->starts_with("# top") ? 1 : 0;
        }
    }
    for (const auto& [what, count] : counts) std::cout << what << ": " << count << '\n';
    std::cout << "comment at the top kept: " << kept << " of " << commented << '\n';
    for (const char* what : {"add in a list", "add in a map", "remove in a list", "remove in a map",
                             "replace in a list", "replace in a map", "JSON", "YAML"})
        EXPECT_GT(counts[what], 200) << what;
    // Printed anew, without comments, is the last resort.
    EXPECT_GT(kept, commented * 98 / 100);
}

TEST(ApplyProperty, APatchOfNothingGivesTheSameBytes) {
    for (int seed = 0; seed < 300; ++seed) {
        Generator generate(static_cast<std::uint64_t>(seed));
        const std::string text = generate.write(generate.map(4));
        const auto documents = read(text);
        ASSERT_TRUE(documents) << documents.error().message << text;
        EXPECT_EQ(*apply(documents->front(), {}), text);
    }
}

}  // namespace
}  // namespace keyshepherd::yaml
