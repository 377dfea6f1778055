#include "support/providers.hpp"
#include "support/settings.hpp"

#include <keyshepherd/webhook/routes.hpp>

#include <gtest/gtest.h>

namespace keyshepherd::webhook {
namespace {

class RoutesTest : public testing::Test {
protected:
    net::Response ask(std::string_view method, std::string_view target,
                      std::string_view content_type = "application/json", std::string_view body = "{}") {
        net::Request request;
        request.method = method;
        request.target = target;
        request.content_type = content_type;
        request.body = body;
        return routes_.admission_port(request);
    }

    static net::WallTime tomorrow() {
        return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()) +
               std::chrono::hours(24);
    }

    telemetry::Log log_{telemetry::Level::error, telemetry::Format::json};
    telemetry::Metrics metrics_;
    View view_{.catalog = inject::Catalog::built_in("https://vault.example:8200"),
               .namespaces = inject::Namespaces("try again", true),
               .unread = ""};
    Routes routes_{view_, testing_support::settings(), tomorrow(), log_, metrics_};
};

TEST_F(RoutesTest, TakesJsonInAnySpellingAndNothingElse) {
    for (const char* good : {"application/json", "APPLICATION/Json", "application/json;charset=utf-8",
                             "application/json \t; q=1"})
        EXPECT_EQ(ask("POST", "/mutate", good).status, 400) << good;
    for (const char* bad :
         {"", "text/json", "application/json-patch+json", "application/jsonp", "json", ";application/json"})
        EXPECT_EQ(ask("POST", "/mutate", bad).status, 415) << bad;
}

TEST_F(RoutesTest, IgnoresTheQuery) {
    EXPECT_EQ(ask("POST", "/mutate?timeout=5s").status, 400);
    EXPECT_EQ(ask("GET", "/healthz?verbose").status, 200);
    EXPECT_EQ(ask("GET", "/?/healthz").status, 404);
}

TEST_F(RoutesTest, NamesTheMethodThatIsRight) {
    const auto answer = ask("GET", "/mutate");
    EXPECT_EQ(answer.status, 405);
    ASSERT_EQ(answer.headers.size(), 1u);
    EXPECT_EQ(answer.headers[0], (std::pair<std::string_view, std::string_view>("Allow", "POST")));
    EXPECT_EQ(ask("POST", "/readyz").status, 405);
}

TEST_F(RoutesTest, IsReadyUntilItDrainsOrItsCertificateEnds) {
    EXPECT_EQ(ask("GET", "/readyz").status, 200);
    routes_.certificate_expires(tomorrow() - std::chrono::hours(25));
    EXPECT_EQ(ask("GET", "/readyz").status, 503);
    EXPECT_NE(ask("GET", "/readyz").body.find("expired"), std::string::npos);
    routes_.certificate_expires(tomorrow());
    EXPECT_EQ(ask("HEAD", "/readyz").status, 200);
    routes_.drain();
    EXPECT_EQ(ask("GET", "/readyz").status, 503);
    EXPECT_EQ(ask("GET", "/healthz").status, 200);
}

TEST_F(RoutesTest, ServesMetricsOnTheirPortOnly) {
    EXPECT_EQ(ask("GET", "/metrics").status, 404);
    net::Request request;
    request.method = "GET";
    request.target = "/metrics";
    const auto answer = routes_.metrics_port(request);
    EXPECT_EQ(answer.status, 200);
    EXPECT_TRUE(answer.content_type.starts_with("text/plain; version=0.0.4"));
    EXPECT_NE(answer.body.find("keyshepherd_build_info"), std::string::npos);
    request.target = "/mutate";
    request.method = "POST";
    EXPECT_EQ(routes_.metrics_port(request).status, 404);
}

TEST_F(RoutesTest, AnswersReviewsOfVerifiedClientsOnlyWhereItIsTold) {
    Routes routes(view_, {}, {}, log_, metrics_, true);
    const auto status = [&](std::string_view method, std::string_view path, bool verified) {
        net::Request request;
        request.method = method;
        request.target = path;
        request.content_type = "application/json";
        request.client_is_verified = verified;
        return routes.admission_port(request).status;
    };
    EXPECT_EQ(status("POST", "/mutate", false), 403);
    EXPECT_EQ(status("POST", "/mutate?timeout=5s", false), 403);
    EXPECT_EQ(status("POST", "/mutate", true), 400) << "an empty body";
    for (const char* probe : {"/healthz", "/readyz"}) EXPECT_NE(status("GET", probe, false), 403) << probe;
}

TEST_F(RoutesTest, AnswersNothingBeforeProvidersWereRead) {
    view_.unread = "waiting for the initial list of namespaces";
    EXPECT_EQ(ask("GET", "/readyz").status, 503);
    EXPECT_EQ(ask("GET", "/readyz").body, "waiting for the initial list of namespaces\n");
    EXPECT_EQ(ask("POST", "/mutate").status, 503) << "failurePolicy decides, never the built-in provider";
    EXPECT_EQ(ask("GET", "/healthz").status, 200);
    view_.unread.clear();
    EXPECT_EQ(ask("GET", "/readyz").status, 200);
}

TEST_F(RoutesTest, WaitsForLabelsAndProvidersThatMayBeOnTheirWay) {
    const std::string document =
        R"({"apiVersion":"keyshepherd.dev/v1alpha1","kind":"ClusterAIProvider","metadata":{"name":"acme"},"spec":{
        "path":"kv/dev","variables":[{"name":"A","key":"a"}],"overrides":[{"namespaceSelector":{"matchLabels":{"env":"prod"}},"path":"kv/prod"}]}})";
    const std::string body =
        R"({"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","namespace":"team","operation":"CREATE",
        "kind":{"group":"apps","version":"v1","kind":"Deployment"},"object":{"apiVersion":"apps/v1","kind":"Deployment",
        "metadata":{"name":"shop","annotations":{"keyshepherd.dev/inject":"acme"}},"spec":{"template":{"spec":{"containers":[{"name":"app","image":"i"}]}}}}}})";
    const auto ask_last = [&](bool last, std::string_view target = "/mutate") {
        net::Request request;
        request.method = "POST";
        request.target = target;
        request.content_type = "application/json";
        request.body = body;
        request.last = last;
        return routes_.admission_port(request);
    };
    const auto unknown = ask_last(false);
    EXPECT_EQ(unknown.wait.count(), 500);
    EXPECT_NE(ask_last(true).body.find("\"code\":422"), std::string::npos);
    ASSERT_TRUE(test::put_provider(view_.catalog, document));
    EXPECT_EQ(ask_last(false).wait.count(), 2000);
    EXPECT_EQ(ask_last(false, "/mutate?timeout=5s").wait.count(), 2000);
    EXPECT_EQ(ask_last(false, "/mutate?timeout=1s").wait.count(), 500) << "the API server waits no longer";
    for (const char* odd :
         {"/mutate?timeout=", "/mutate?timeout=x", "/mutate?timeout=0s", "/mutate?timeout=9999999999s"})
        EXPECT_EQ(ask_last(false, odd).wait.count(), 2000) << odd;
    EXPECT_NE(ask_last(true).body.find("\"code\":503"), std::string::npos);
    view_.namespaces.put("team", {});
    const auto answer = ask_last(false);
    EXPECT_EQ(answer.wait.count(), 0);
    EXPECT_NE(answer.body.find("\"allowed\":true"), std::string::npos) << answer.body;
    const std::string metrics = metrics_.text();
    EXPECT_NE(
        metrics.find(
            R"(keyshepherd_admission_requests_total{dry_run="false",outcome="denied",reason="namespace-unknown"} 1)"),
        std::string::npos);
}

}  // namespace
}  // namespace keyshepherd::webhook
