#include "runtime.hpp"

#include "connection_reconciler.hpp"
#include "provider_reconciler.hpp"
#include "secret_id_reconciler.hpp"
#include "vault_object_reconciler.hpp"

#include <boost/asio/co_spawn.hpp>
#include <gtest/gtest.h>

namespace keyshepherd::controller {
namespace {

using namespace std::chrono_literals;

class RuntimeTest : public testing::Test {
protected:
    static Options options() {
        Options options;
        options.call = 300ms;
        options.kubernetes.origin = {.tls = false, .host = "127.0.0.1", .port = "1"};
        return options;
    }
    static Key key(const char* name) {
        return {.kind = resources::find_kind("VaultPolicy"), .ns = "shop", .name = name};
    }
    bool tell_later(const char* name) {
        return runtime_.tell_later(key(name), {.ready = planner::Truth::yes, .reason = "Reconciled"}, 1);
    }
    bool is_due(Deadline now = SteadyClock::now()) { return runtime_.queue.pop(now, 8).has_value(); }

    boost::asio::io_context context_;
    telemetry::Log log_{telemetry::Level::error, telemetry::Format::json};
    const Options options_ = options();
    Runtime runtime_{context_, options_, log_};
};

TEST_F(RuntimeTest, TellsAtOnceWhenNothingElseIsToBeDone) {
    EXPECT_FALSE(tell_later("one"));
    EXPECT_FALSE(runtime_.has_later());
}

TEST_F(RuntimeTest, TellsLaterWhileOthersAreDue) {
    runtime_.queue.add(key("other"), SteadyClock::now());
    EXPECT_TRUE(tell_later("one"));
    EXPECT_FALSE(runtime_.queue_later(SteadyClock::now()));
    EXPECT_TRUE(is_due());
    EXPECT_TRUE(runtime_.queue_later(SteadyClock::now()));
    EXPECT_TRUE(is_due());
    EXPECT_TRUE(runtime_.pop_deferred_status(key("one")));
    EXPECT_FALSE(runtime_.pop_deferred_status(key("one")));
}

TEST_F(RuntimeTest, TellsLaterWhileOthersAreTaken) {
    {
        const Runtime::CreationGuard creating(runtime_);
        EXPECT_TRUE(tell_later("one"));
        EXPECT_TRUE(tell_later("two"));
        EXPECT_FALSE(runtime_.queue_later(SteadyClock::now()));
        // But not for ever.
        const Deadline then = SteadyClock::now() + Runtime::longest_later;
        EXPECT_TRUE(runtime_.queue_later(then));
        EXPECT_TRUE(is_due(then));
    }
    EXPECT_TRUE(runtime_.queue_later(SteadyClock::now()));
    EXPECT_TRUE(is_due());
    EXPECT_FALSE(tell_later("three"));
}

// ---- statuses, to an API server that nobody can reach

class StatusTest : public RuntimeTest {
protected:
    template <class T>
    T run(net::Task<T> task) {
        std::optional<T> got;
        boost::asio::co_spawn(context_, std::move(task), [&got](const std::exception_ptr& e, T value) {
            if (e) std::rethrow_exception(e);
            got.emplace(std::move(value));
        });
        context_.restart();
        while (!got && context_.run_one() > 0) {
        }
        return *std::move(got);
    }
    EntryPtr put(const char* kind, kube::Json spec, kube::Json annotations = kube::Json::object()) {
        const EntryPtr entry = make_entry({{"apiVersion", "keyshepherd.dev/v1alpha1"},
                                           {"kind", kind},
                                           {"metadata",
                                            {{"name", "one"},
                                             {"namespace", "shop"},
                                             {"uid", "u"},
                                             {"resourceVersion", "1"},
                                             {"generation", 1},
                                             {"annotations", std::move(annotations)}}},
                                           {"spec", std::move(spec)}});
        runtime_.store.put(entry);
        return entry;
    }
    template <class Kind>
    Again look(const EntryPtr& entry) {
        Kind reconciler(runtime_, key_of(*entry), entry);
        const Again again = run(reconciler.reconcile());
        EXPECT_STREQ(reconciler.outcome, "error");
        return again;
    }
};

const kube::Json policy_spec = {{"connectionRef", {{"name", "main"}}},
                                {"name", "shop.p"},
                                {"rules", {{{"path", "kv/a"}, {"capabilities", {"read"}}}}}};
const kube::Json paused = {{"keyshepherd.dev/paused", "true"}};

TEST_F(StatusTest, AnUnwrittenOneIsTriedAgainAfterAWaitThatDoubles) {
    const EntryPtr entry = put("VaultPolicy", policy_spec);
    const StatusUpdate update{.ready = planner::Truth::no, .reason = "NotGranted"};
    for (const milliseconds longest : {1000ms, 2000ms, 4000ms, 8000ms, 16000ms, 32000ms, 32000ms}) {
        const StatusWrite status = run(runtime_.report(key_of(*entry), entry, update));
        ASSERT_FALSE(status.written);
        EXPECT_GE(status.retry.value(), longest / 2);
        EXPECT_LE(status.retry.value(), longest);
    }
    runtime_.forget(key_of(*entry));
    EXPECT_TRUE(run(runtime_.report(key_of(*entry), entry, update)).written)
        << "there is nothing to write to";
}

TEST_F(StatusTest, EveryKindLooksAgainWhenARefusalOrAPauseWasNotWritten) {
    EXPECT_TRUE(look<VaultObjectReconciler>(put("VaultPolicy", policy_spec, paused)));
    EXPECT_TRUE(look<VaultObjectReconciler>(put("VaultPolicy", policy_spec))) << "there is no connection";
    EXPECT_TRUE(look<VaultObjectReconciler>(put("VaultPolicy", {{"name", "without rules"}})));
    const kube::Json secret_id = {{"appRoleRef", {{"name", "r"}}}};
    EXPECT_TRUE(look<SecretIdReconciler>(put("VaultSecretID", secret_id, paused)));
    EXPECT_TRUE(look<SecretIdReconciler>(put("VaultSecretID", secret_id))) << "there is no role";
    EXPECT_TRUE(look<SecretIdReconciler>(put("VaultSecretID", kube::Json::object())));
    EXPECT_TRUE(look<ConnectionReconciler>(put("VaultConnection", kube::Json::object())));
    const kube::Json provider = {{"path", "kv/data/a"}, {"variables", {{{"name", "A"}, {"key", "a"}}}}};
    EXPECT_TRUE(look<ProviderReconciler>(put("AIProvider", provider, paused)));
    EXPECT_TRUE(look<ProviderReconciler>(put("AIProvider", provider))) << "it is only declared";
    EXPECT_TRUE(look<ProviderReconciler>(put("AIProvider", kube::Json::object())));
}

TEST(Again, IsTheSooner) {
    EXPECT_EQ(sooner(5ms, 3ms).value(), 3ms);
    EXPECT_EQ(sooner(std::nullopt, 3ms).value(), 3ms);
    EXPECT_EQ(sooner(5ms, std::nullopt).value(), 5ms);
    EXPECT_FALSE(sooner(std::nullopt, std::nullopt));
}

class TrustTest : public RuntimeTest {
protected:
    TrustTest() { runtime_.signer.open(std::string(64, 'k'), "cluster"); }
    static constexpr const char* claim = "https://vault:8200 sys/policies/acl/a";

    // A policy as the API server tells of it.
    EntryPtr found(const char* uid, Json status, Json annotations = Json::object()) {
        runtime_.store.put(make_entry(
            {{"apiVersion", "keyshepherd.dev/v1alpha1"},
             {"kind", "VaultPolicy"},
             {"metadata", {{"name", "p"}, {"namespace", "shop"}, {"uid", uid}, {"annotations", annotations}}},
             {"spec",
              {{"connectionRef", {{"name", "main"}}},
               {"name", "a"},
               {"rules", Json::array({{{"path", "x"}, {"capabilities", Json::array({"read"})}}})}}},
             {"status", std::move(status)}}));
        return runtime_.find(key("p"));
    }
    std::string seal_for(const char* uid) { return runtime_.signer.seal(uid, {{"claim", claim}}); }
    bool owns(const char* uid, Json status, Json annotations = Json::object()) {
        return runtime_.owns(found(uid, std::move(status), std::move(annotations))->resource, claim);
    }
};

TEST_F(TrustTest, OwnsWhatItSealed) {
    EXPECT_TRUE(owns("uid-1", {{"claim", claim}, {"seal", seal_for("uid-1")}}));
    EXPECT_FALSE(runtime_.find(key("p"))->untrusted);
    EXPECT_TRUE(
        owns("uid-1", Json::object(), {{"keyshepherd.dev/claim", runtime_.signer.mark("uid-1", claim)}}));
}

TEST_F(TrustTest, DoesNotOwnByAClaimWithoutASealOrWithThatOfAnother) {
    EXPECT_FALSE(owns("uid-1", {{"claim", claim}})) << "written by hand";
    EXPECT_TRUE(runtime_.find(key("p"))->untrusted);
    EXPECT_FALSE(runtime_.find(key("p"))->status.contains("claim"));
    EXPECT_FALSE(owns("uid-2", {{"claim", claim}, {"seal", seal_for("uid-1")}})) << "copied or restored";
    EXPECT_TRUE(owns("uid-1", {{"claim", claim}, {"seal", seal_for("uid-1")}, {"lastChange", "x"}}))
        << "what is no fact is not sealed";
    EXPECT_FALSE(
        owns("uid-2", Json::object(), {{"keyshepherd.dev/claim", runtime_.signer.mark("uid-1", claim)}}));
    EXPECT_FALSE(runtime_.find(key("p"))->untrusted) << "nothing is claimed";
}

TEST(SecretNamespaces, AreAllOrThoseThatAreNamed) {
    boost::asio::io_context context;
    telemetry::Log log{telemetry::Level::error, telemetry::Format::json};
    Options options;
    options.kubernetes.origin = {.tls = false, .host = "127.0.0.1", .port = "1"};
    EXPECT_TRUE(Runtime(context, options, log).may_use_secrets("a"));
    options.secret_namespaces = {"a", "b"};
    EXPECT_TRUE(Runtime(context, options, log).may_use_secrets("b"));
    EXPECT_FALSE(Runtime(context, options, log).may_use_secrets("c"));
}

}  // namespace
}  // namespace keyshepherd::controller
