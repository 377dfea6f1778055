#include "support/event_loop.hpp"

#include <keyshepherd/reconcile/snapshot.hpp>

#include <gtest/gtest.h>

namespace keyshepherd::reconcile {
namespace {

using nlohmann::json;
using planner::Resource;
using test::in;
using test::Peer;
using namespace std::chrono_literals;

Resource make(const char* kind, json spec) {
    spec["connectionRef"] = {{"name", "main"}};
    auto reading = resources::read({{"apiVersion", "keyshepherd.dev/v1alpha1"},
                                    {"kind", kind},
                                    {"metadata", {{"name", "x"}, {"namespace", "ai"}}},
                                    {"spec", std::move(spec)}},
                                   "ai");
    for (const auto& fault : reading.faults) ADD_FAILURE() << fault.field << " " << fault.message;
    return reading.resource;
}

Resource policy(const std::string& name, const std::string& hcl = "# v1\n") {
    return make("VaultPolicy", {{"name", name}, {"hcl", hcl}});
}

TEST(PolicySnapshot, HoldsWhatItWasGivenByteForByte) {
    PolicySnapshot snapshot;
    for (int i = 0; i < 1000; ++i) snapshot.add("p" + std::to_string(i), "text " + std::to_string(i % 7));
    snapshot.seal();
    EXPECT_TRUE(snapshot.holds("p699", "text 6"));
    EXPECT_FALSE(snapshot.holds("p699", "text 5"));
    EXPECT_FALSE(snapshot.holds("p699", "text 6 ")) << "of the same meaning is for the planner to say";
    EXPECT_FALSE(snapshot.holds("p1000", "text 6"));
    EXPECT_FALSE(snapshot.holds("p69", "9text 6"));
}

class SnapshotsTest : public test::EventLoop {
protected:
    void TearDown() override {
        snapshots_.reset();
        vault_.reset();
        http_.reset();
        peer_.reset();
        expect_nothing_left();
    }
    Peer::Reply respond(const std::string& request) {
        const std::string what = request.substr(0, request.find(" HTTP"));
        if (what.ends_with("lookup-self")) return {reply("200", json{{"data", json::object()}})};
        ++asked_[what];
        return {reply(status_, answer_), 30ms};
    }
    static std::string reply(const std::string& status, const json& body) {
        const std::string text = body.dump();
        return "HTTP/1.1 " + status + " X\r\nContent-Length: " + std::to_string(text.size()) + "\r\n\r\n" +
               text;
    }
    auto observe(const Resource& resource, std::chrono::milliseconds oldest = 10s) {
        return snapshots_->observe(resource, oldest, in(5s));
    }
    void answer_policies(std::map<std::string, std::string> texts) {
        json infos = json::object(), keys = json::array();
        for (const auto& [name, text] : texts) {
            keys.push_back(name);
            infos[name] = {{"name", name}, {"policy", text}, {"version", 1}};
        }
        answer_ = {
            {"request_id", "1"}, {"data", {{"key_info", infos}, {"keys", keys}}}, {"warnings", nullptr}};
    }
    void expect(const Resource& resource, int looks) {
        for (int i = 0; i < looks; ++i) snapshots_->expect(resource, in(5s));
    }

    std::map<std::string, int> asked_;
    std::string status_ = "200";
    json answer_;
    std::unique_ptr<Peer> peer_ =
        std::make_unique<Peer>(context_, [this](const std::string& request) { return respond(request); });
    std::unique_ptr<net::Client> http_ =
        std::make_unique<net::Client>(context_, net::Origin{false, "127.0.0.1", peer_->port()});
    std::unique_ptr<vault::Client> vault_ =
        std::make_unique<vault::Client>(context_, *http_, vault::TokenLogin{"t"});
    std::unique_ptr<Snapshots> snapshots_ = std::make_unique<Snapshots>(context_.get_executor(), *vault_);
    const std::string list_ = "LIST /v1/sys/policies/detailed/acl";
};

TEST_F(SnapshotsTest, ManyLooksAtPoliciesShareOneQuestion) {
    answer_policies({{"a", "# v1\n"}, {"b/c", "# other\n"}});
    const Resource a = policy("a"), changed = policy("b/c"), absent = policy("gone");
    EXPECT_FALSE(run(observe(a))) << "nobody else is expected";
    EXPECT_TRUE(asked_.empty());
    expect(a, 9);
    const auto first = start(observe(a)), second = start(observe(a)), third = start(observe(changed));
    const auto seen = finish(first);
    ASSERT_TRUE(seen);
    EXPECT_EQ(planner::plan(a, seen->observed, {.owner = true}).verdict, planner::Verdict::in_sync);
    EXPECT_GE(seen->age, 30ms) << "since it was asked for";
    EXPECT_TRUE(finish(second));
    EXPECT_FALSE(finish(third)) << "it proves nothing about what differs";
    EXPECT_FALSE(run(observe(absent)));
    EXPECT_EQ(asked_, (std::map<std::string, int>{{list_, 1}}));
    EXPECT_FALSE(run(observe(a, 1ms))) << "not old ones";
}

TEST_F(SnapshotsTest, AServerWithoutTheListOrThatRefusesItIsNotAskedAgain) {
    const Resource a = policy("a");
    for (const auto& [status, body] :
         {std::pair("404", R"({"errors":["unsupported path"]})"),
          std::pair("405", R"({"errors":["unsupported operation"]})"),
          std::pair("403", R"({"errors":["permission denied"]})"), std::pair("404", R"({"errors":[]})"),
          std::pair("200", R"({"data":{}})")}) {
        snapshots_ = std::make_unique<Snapshots>(context_.get_executor(), *vault_);
        asked_.clear();
        status_ = status;
        answer_ = json::parse(body);
        expect(a, 9);
        EXPECT_FALSE(run(observe(a)));
        EXPECT_FALSE(run(observe(a)));
        EXPECT_EQ(asked_[list_], 1) << status;
    }
}

TEST_F(SnapshotsTest, ALookThatEndsInTheMiddleHoldsUpNobody) {
    answer_policies({{"a", "# v1\n"}});
    const Resource a = policy("a");
    expect(a, 20);
    const auto cut = start(observe(a));
    run_steps(2);
    const auto other = start(observe(a));
    run_steps(1);
    cut->cancel.emit(boost::asio::cancellation_type::terminal);
    EXPECT_FALSE(finish(cut));
    finish(other);
    run_for(100ms);
    EXPECT_FALSE(run(observe(a, 1ms))) << "it is not asked at once again";
}

TEST_F(SnapshotsTest, MountsAreAllReadWithTheFirstThatIsLookedAt) {
    answer_ = {{"data",
                {{"kv/",
                  {{"type", "kv"},
                   {"description", ""},
                   {"config", json::object()},
                   {"options", {{"version", "2"}}}}},
                 {"sys/", {{"type", "system"}}}}}};
    const Resource kv = make("VaultMount", {{"path", "kv"}, {"type", "kv"}, {"options", {{"version", "2"}}}});
    const Resource other = make("VaultMount", {{"path", "other"}, {"type", "kv"}});
    const auto seen = run(observe(kv));
    ASSERT_TRUE(seen);
    EXPECT_EQ(planner::plan(kv, seen->observed, {.owner = true}).verdict, planner::Verdict::in_sync);
    EXPECT_FALSE(run(observe(other)));
    EXPECT_EQ(asked_["GET /v1/sys/mounts"], 1);
    EXPECT_FALSE(run(observe(make("VaultAppRole", {{"name", "r"}})))) << "of these there is no list";
}

}  // namespace
}  // namespace keyshepherd::reconcile
