#include <keyshepherd/vault/answer.hpp>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace keyshepherd::vault {
namespace {

using nlohmann::json;

// The document, or a text that says what else came.
json said(const result<std::optional<json>>& read) {
    if (!read) return "error: " + read.error().message;
    return read->value_or(json("absent"));
}

struct Row {
    std::string method, path;
    int status;
    std::string body;
    Errc code;
    std::string said;  // what the message ends with
};

// Bodies as OpenBao 2.7 sends them, where no other server is named.
const Row refused[] = {
    {"POST", "sys/auth/approle", 400, R"({"errors":["path is already in use at approle/"]})", Errc::conflict,
     "POST sys/auth/approle: Vault returned 400: path is already in use at approle/"},
    {"LIST", "auth/approle/role/none/secret-id", 400, R"({"errors":["role \"none\" does not exist"]})",
     Errc::not_found, "400: role \"none\" does not exist"},
    {"POST", "auth/approle/role/none/secret-id", 404, R"({"errors":["role \"none\" does not exist"]})",
     Errc::not_found, "404: role \"none\" does not exist"},
    {"POST", "auth/approle/role/none/secret-id/lookup", 500,
     R"({"errors":["1 error occurred:\n\t* role \"none\" does not exist\n\n"]})", Errc::not_found,
     "500: role \"none\" does not exist"},
    {"POST", "auth/approle/role/a/secret-id-accessor/lookup", 404,
     R"({"request_id":"1","data":{"error":"failed to find accessor entry for secret_id_accessor: \"x\""},"auth":null})",
     Errc::not_found, "404: failed to find accessor entry for secret_id_accessor: \"x\""},
    {"POST", "auth/approle/role/a/secret-id-accessor/destroy", 500,
     R"({"errors":["1 error occurred:\n\t* failed to find accessor entry for secret_id_accessor: \"x\"\n\n"]})",
     Errc::not_found, "accessor: \"x\""},
    {"POST", "auth/approle/role/a/secret-id-accessor/destroy", 403,
     R"({"errors":["invalid secret id accessor"]})", Errc::not_found, "403: invalid secret id accessor"},
    {"POST", "auth/token/lookup-accessor", 403,
     R"({"errors":["1 error occurred:\n\t* invalid accessor\n\n"]})", Errc::not_found,
     "403: invalid accessor"},
    {"POST", "auth/token/revoke-accessor", 400, R"({"errors":["invalid accessor"]})", Errc::not_found,
     "400: invalid accessor"},
    {"POST", "auth/approle/role/b/custom-secret-id", 500,
     R"({"errors":["1 error occurred:\n\t* failed to store secret_id: SecretID is already registered\n\n"]})",
     Errc::conflict, "500: failed to store secret_id: SecretID is already registered"},
    {"POST", "auth/approle/role/c", 500,
     R"({"errors":["1 error occurred:\n\t* at least one constraint should be enabled on the role\n\n"]})",
     Errc::invalid, "enabled on the role"},
    {"POST", "auth/approle/role/c", 500,
     R"({"errors":["1 error occurred:\n\t* failed to validate CIDR blocks: invalid CIDR address: nope\n\n"]})",
     Errc::invalid, "nope"},
    {"POST", "auth/approle/role/b/role-id", 500,
     R"({"errors":["1 error occurred:\n\t* role_id already in use\n\n"]})", Errc::conflict, "already in use"},
    {"POST", "auth/approle/role/a", 400,
     R"({"errors":["local_secret_ids can only be modified during role creation"]})", Errc::invalid,
     "creation"},
    {"GET", "nomount/x?a=b", 404,
     R"({"errors":["no handler for route \"nomount/x\". route entry not found."]})", Errc::not_found,
     "GET nomount/x: Vault returned 404: no handler for route \"nomount/x\". route entry not found. (no "
     "mount "
     "at this path)"},
    {"GET", "sys/nothing", 404, R"({"errors":["1 error occurred:\n\t* unsupported path\n\n"]})",
     Errc::not_found, "404: unsupported path (the mount does not support this path)"},
    {"GET", "secret/data/a", 404, R"({"errors":["namespace not found"]})", Errc::not_found,
     "namespace not found"},
    {"GET", "secret/data/a", 404, "<html>not found</html>", Errc::protocol,
     "check that this is the address of a Vault server"},
    {"POST", "secret/a", 404,
     R"({"data":null,"warnings":["Invalid path for a versioned K/V secrets engine."]})", Errc::not_found,
     "404: Invalid path for a versioned K/V secrets engine."},
    {"PUT", "sys/policies/acl/bad", 400,
     R"({"errors":["failed to parse policy: At 1:10: object expected closing RBRACE got: EOF"]})",
     Errc::invalid, "EOF"},
    {"POST", "secret/data/a", 400,
     R"({"errors":["check-and-set parameter did not match the current version"]})", Errc::conflict,
     "version"},
    {"GET", "secret/data/a", 403, R"({"errors":["permission denied"]})", Errc::forbidden,
     "403: permission denied"},
    {"GET", "secret/data/a", 403,
     R"({"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]})", Errc::unauthorized,
     "permission denied * invalid token"},  // Vault
    {"GET", "secret/data/a", 400, R"({"errors":["missing client token"]})", Errc::unauthorized, "token"},
    // A tenant's text says nothing about the operator's token.
    {"PUT", "sys/policies/acl/a", 400,
     R"({"errors":["failed to parse policy: 1:1: unexpected token \"missing client token\""]})",
     Errc::invalid, "missing client token\""},
    {"DELETE", "auth/token/lookup-self", 405,
     R"({"errors":["1 error occurred:\n\t* unsupported operation\n\n"]})", Errc::invalid,
     "405: unsupported operation (the server may have an unsupported version)"},
    {"PATCH", "auth/approle/role/a", 415, R"({"errors":["PATCH requires a type"]})", Errc::invalid, "type"},
    {"GET", "a", 412, R"({"errors":["required index state not present"]})", Errc::unavailable, "present"},
    {"GET", "a", 429, R"({"errors":["request path \"a\": rate limit quota exceeded"]})", Errc::throttled,
     "exceeded"},
    {"GET", "a", 500, R"({"errors":["1 error occurred:\n\t* internal error\n\n"]})", Errc::unavailable,
     "500: internal error"},
    {"POST", "identity/entity/id/none", 400, R"({"errors":["entity not found from id"]})", Errc::not_found,
     "400: entity not found from id"},
    {"GET", "a", 503, R"({"errors":["Vault is sealed"]})", Errc::unavailable, "503: Vault is sealed"},
    {"GET", "a", 502, "<html>Bad Gateway</html>", Errc::unavailable, "Vault returned 502"},
    {"GET", "a", 504, "", Errc::unavailable, "Vault returned 504"},
    {"GET", "a", 307, "", Errc::unavailable,
     "307: this server is a standby and redirects to another server; use the address of the active node"},
    {"GET", "a", 302, "", Errc::protocol, "Vault returned 302"},
    {"GET", "a", 200, "<html>log in</html>", Errc::protocol, "200: not a JSON object"},
    {"GET", "a", 200, "[1]", Errc::protocol, "200: not a JSON object"},
};

TEST(Answer, TellsErrorsApart) {
    for (const Row& row : refused) {
        const auto read = read_answer({row.method, row.path}, row.status, row.body);
        ASSERT_FALSE(read) << row.body;
        EXPECT_EQ(read.error().code, row.code) << read.error().message;
        EXPECT_TRUE(read.error().message.ends_with(row.said)) << read.error().message;
        EXPECT_TRUE(read.error().message.starts_with(row.method + " ")) << read.error().message;
    }
}

TEST(Answer, TellsASealedVaultByItsOwnWordsAlone) {
    const auto detail = [](int status, const char* body) {
        return read_answer({"GET", "kv/data/Vault is sealed"}, status, body).error().detail;
    };
    EXPECT_EQ(detail(503, R"({"errors":["Vault is sealed"]})"), Detail::sealed);
    EXPECT_EQ(detail(500, R"({"errors":["Vault is sealed"]})"), Detail::none);
    EXPECT_EQ(detail(503, R"({"errors":["no leader; is Vault is sealed?"]})"), Detail::none);
    EXPECT_EQ(detail(503, "Vault is sealed"), Detail::none);
    EXPECT_EQ(unusable({.initialized = true, .sealed = true}).detail, Detail::sealed);
    EXPECT_EQ(unusable({.initialized = false, .sealed = true}).detail, Detail::none);
}

TEST(Answer, KnowsWhatIsAbsent) {
    for (const char* path : {"auth/approle/role/none", "sys/policies/acl/none", "secret/data/none"}) {
        const auto read = read_answer({"GET", path}, 404, "{\"errors\":[]}\n");
        EXPECT_EQ(said(read), "absent");
    }
}

TEST(Answer, KeepsWhatIsThere) {
    const json there = said(read_answer({"GET", "a"}, 200, R"({"data":{"a":1},"warnings":["one\n two",3]})"));
    EXPECT_EQ(there["data"]["a"], 1);
    EXPECT_EQ(warnings(there), std::vector<std::string>{"one two"});
    EXPECT_TRUE(warnings(json::parse(R"({"warnings":null})")).empty());
    const json deleted = said(read_answer({"GET", "secret/data/a"}, 404,
                                          R"({"data":{"data":null,"metadata":{"deletion_time":"2026"}}})"));
    EXPECT_TRUE(deleted["data"]["data"].is_null());
    for (const int status : {200, 202, 204}) {
        EXPECT_EQ(said(read_answer({"POST", "a"}, status, "")), json::object());
    }
}

TEST(Answer, DropsWhatWasTaken) {
    int seen = 0;
    const auto take = [&seen](int depth, json::parse_event_t event, json& part) {
        if (depth != 2 || event != json::parse_event_t::object_end) return true;
        seen += part.value("a", 0);
        return false;
    };
    const auto read =
        read_answer({"LIST", "a"}, 200, R"({"data":{"x":{"a":1},"y":{"a":2}},"warnings":["w"]})", {}, take);
    EXPECT_EQ(said(read), json::parse(R"({"data":{},"warnings":["w"]})"));
    EXPECT_EQ(seen, 3);
}

TEST(Answer, TakesOverHowLongToWait) {
    const auto wait = [](std::string_view retry_after) {
        return read_answer({"GET", "a"}, 429, R"({"errors":["x"]})", retry_after).error().retry_after.count();
    };
    EXPECT_EQ(wait("7"), 7);
    EXPECT_EQ(wait(""), 0);
    EXPECT_EQ(wait("-1"), 0);
    EXPECT_EQ(wait("99999999999999"), 3600);
    EXPECT_EQ(wait("86400"), 3600);
    EXPECT_EQ(wait("Tue, 24 Nov 2026 00:00:00 GMT"), 0);
}

TEST(Answer, KeepsAMessageShortAndOnOneLine) {
    const json body{
        {"errors", {"a\r\n\tb\x01" + std::string(399, 'x') + "\xc3\xa9" + std::string(2000, 'y')}}};
    const auto read = read_answer({"GET", "a"}, 400, body.dump());
    ASSERT_FALSE(read);
    EXPECT_LT(read.error().message.size(), 500U);
    EXPECT_NE(read.error().message.find("a b xxx"), std::string::npos);
    EXPECT_EQ(read.error().message.find('\n'), std::string::npos);
    EXPECT_NO_THROW(json(read.error().message).dump());  // cut between characters
}

TEST(Answer, ReadsHealthUnderAnyStatus) {
    const std::string body =
        R"({"initialized":true,"sealed":false,"standby":true,"version":"2.7.2","cluster_id":"141058e6"})";
    for (const int status : {200, 429, 473}) {
        const auto health = read_health(status, body);
        ASSERT_TRUE(health);
        EXPECT_TRUE(health->usable());
        EXPECT_TRUE(health->standby);
        EXPECT_EQ(health->version, "2.7.2");
        EXPECT_EQ(health->cluster_id, "141058e6");
    }
    EXPECT_EQ(read_health(200, R"({"initialized":true,"sealed":false,"server_time_utc":1800000000})")->time,
              1'800'000'000);
    for (const char* time : {R"("1800000000")", "null", "1.8e9"})
        EXPECT_EQ(read_health(
                      200, fmt::format(R"({{"initialized":true,"sealed":false,"server_time_utc":{}}})", time))
                      ->time,
                  0)
            << time;
    const auto sealed = read_health(503, R"({"initialized":true,"sealed":true,"standby":true})");
    ASSERT_TRUE(sealed);
    EXPECT_FALSE(sealed->usable());
    const auto fresh = read_health(501, R"({"initialized":false,"sealed":true})");
    ASSERT_TRUE(fresh);
    EXPECT_FALSE(fresh->usable());
    for (const char* none : {"", "<html>", "[]", "{}", R"({"initialized":"yes","sealed":false})"})
        EXPECT_EQ(read_health(503, none).error().code, Errc::unavailable);
}

TEST(Answer, KnowsServersThatIgnoreANamespace) {
    const auto has = [](const char* rest) {
        return read_health(200, fmt::format(R"({{"initialized":true,"sealed":false{}}})", rest))
            ->has_namespaces;
    };
    EXPECT_FALSE(has(R"(,"version":"1.21.4","enterprise":false)"));
    EXPECT_TRUE(has(R"(,"version":"1.21.4+ent","enterprise":true)"));
    // Versions of Vault and of OpenBao meet.
    EXPECT_FALSE(has(R"(,"version":"2.7.0","enterprise":false)"));
    // Neither OpenBao nor an early Vault has `enterprise` there.
    for (const char* without : {"0.11.6", "1.12.11", "2.0.3", "2.2.2"})
        EXPECT_FALSE(has(fmt::format(R"(,"version":"{}")", without).c_str())) << without;
    for (const char* with : {"1.12.11+ent", "1.12.11+ent.hsm", "2.3.1", "2.7.2", "2.10.0", "3.0.0"})
        EXPECT_TRUE(has(fmt::format(R"(,"version":"{}")", with).c_str())) << with;
    for (const char* unknown : {"", R"(,"version":"")", R"(,"version":"dev")", R"(,"version":"2")"})
        EXPECT_TRUE(has(unknown)) << unknown << ": nothing is known against it";
}

TEST(Answer, ReadsTheParametersOfAPath) {
    const auto described = [](const char* schema) {
        return parameters(json::parse(fmt::format(
            R"({{"help":"","openapi":{{"components":{{"schemas":{{"Answer":{{"properties":{{"c":{{}}}}}},
            "Question":{{"properties":{{"a":{{}},"b":{{}}}}}}}}}},"paths":{{"/role/{{name}}":{{"post":{{"requestBody":
            {{"content":{{"application/json":{{"schema":{}}}}}}}}}}}}}}}}})",
            schema)));
    };
    using Names = std::set<std::string>;
    EXPECT_EQ(described(R"({"$ref":"#/components/schemas/Question"})"), (Names{"a", "b"}));
    EXPECT_EQ(described(R"({"type":"object","properties":{"d":{}}})"), Names{"d"});
    for (const char* none : {"{}", "[]", R"({"$ref":"#/components/schemas/Other"})", R"({"$ref":1})"})
        EXPECT_EQ(described(none), std::nullopt) << none;
    for (const char* none : {"{}", R"({"openapi":null})", R"({"openapi":{"paths":{}}})",
                             R"({"openapi":{"paths":{"a":{},"b":{}}}})"})
        EXPECT_EQ(parameters(json::parse(none)), std::nullopt) << none;
}

TEST(Path, EncodesEachSegment) {
    EXPECT_EQ(path({"sys/policies/acl", "team/a b"}), "sys/policies/acl/team/a%20b");
    EXPECT_EQ(path({"auth", "approle", "role", "é%2F?#"}), "auth/approle/role/%C3%A9%252F%3F%23");
    EXPECT_EQ(path({"a..b", "..."}), "a..b/...");
    EXPECT_EQ(path({"A-Z_a.z~0"}), "A-Z_a.z~0");
    for (const std::string_view bad :
         {std::string_view(""), std::string_view("."), std::string_view(".."), std::string_view("a/../b"),
          std::string_view("/a"), std::string_view("a/"), std::string_view("a//b"), std::string_view("a\nb"),
          std::string_view("a\0b", 3), std::string_view("a\x7f")}) {
        const auto made = path({"x", bad});
        ASSERT_FALSE(made) << bad;
        EXPECT_EQ(made.error().code, Errc::invalid);
    }
}

TEST(Path, IsCheckedBeforeItIsSent) {
    for (const char* good :
         {"a", "sys/policies/acl/a%20b", "auth/token/accessors?list=true&after=..", "a/.../b"})
        EXPECT_TRUE(is_safe_path(good)) << good;
    for (const char* bad :
         {"", "/a", "a/", "a//b", "a/../b", "a/./b", "..", "a b", "a\r\nb", "a#b", "a\\b", "é", "?a"})
        EXPECT_FALSE(is_safe_path(bad)) << bad;
}

}  // namespace
}  // namespace keyshepherd::vault
