// Which addresses a pattern allows; the addresses are what a tenant may try.
#include <keyshepherd/core/server_address.hpp>

#include <gtest/gtest.h>

#include <vector>

namespace keyshepherd {
namespace {

TEST(ServerAddress, IsASchemeAHostAndAPort) {
    for (const char* good : {"https://vault.example:8200", "https://vault.example:8200/", "https://vault",
                             "http://10.0.0.1", "https://[::1]:8200", "https://xn--bcher-kva.example",
                             "https://a_b.example", "HTTPS" /* see below */})
        EXPECT_EQ(parse_server_address(good).has_value(), std::string_view(good) != "HTTPS") << good;
    EXPECT_EQ(parse_server_address("https://vault")->port, "443");
    EXPECT_EQ(parse_server_address("http://vault")->port, "80");
    EXPECT_EQ(parse_server_address("https://Vault:8200")->host, "Vault");
}

TEST(ServerAddress, IsNothingThatTwoParsersCouldReadDifferently) {
    const std::string longest(63, 'a');
    for (const std::string& bad : std::vector<std::string>{"",
                                                           "vault.example:8200",
                                                           "ftp://vault.example",
                                                           "HTTPS://vault.example",
                                                           "https://",
                                                           "https:///",
                                                           "https://u@vault.example",
                                                           "https://u:secret@vault.example",
                                                           "https://vault.example@evil.example",
                                                           "https://vault.evil/.svc",
                                                           "https://vault.example/v1",
                                                           "https://vault.example//",
                                                           "https://vault.example?x",
                                                           "https://vault.example#x",
                                                           "https://vault.example\\@evil.example",
                                                           "https://vault.example.",
                                                           "https://.vault.example",
                                                           "https://vault..example",
                                                           "https://-vault.example",
                                                           "https://vault-.example",
                                                           "https://" + longest + "a.example",
                                                           "https://b\xc3\xbc"
                                                           "cher.example",
                                                           "https://vault%2eexample",
                                                           "https://%76ault.example",
                                                           "https://vault.example:",
                                                           "https://vault.example:0",
                                                           "https://vault.example:08200",
                                                           "https://vault.example:65536",
                                                           "https://vault.example:8200x",
                                                           "https://vault.example:+80",
                                                           "https://vault.example: 80",
                                                           "https://vault example",
                                                           "https://vault.example\n",
                                                           " https://vault.example",
                                                           "https://*.example",
                                                           "https://[::1",
                                                           "https://[::1]8200",
                                                           "https://[vault]",
                                                           "https://[fe80::1%25eth0]",
                                                           "https://::1",
                                                           std::string("https://[::1\0]", 15)}) {
        const auto parsed = parse_server_address(bad);
        ASSERT_FALSE(parsed) << bad;
        EXPECT_EQ(parsed.error().code, Errc::invalid);
        EXPECT_EQ(parsed.error().message.find("secret"), std::string::npos);
        EXPECT_FALSE(matches_address("https://*", bad)) << bad;
        EXPECT_FALSE(matches_address(bad, bad)) << bad;
    }
}

struct Row {
    const char* pattern;
    const char* address;
    bool allowed;
};

TEST(AddressPattern, MatchesWithinOneLabelAndNoFurther) {
    for (const Row& row : std::vector<Row>{
             {"https://vault.vault.svc:8200", "https://vault.vault.svc:8200", true},
             {"https://vault.vault.svc:8200", "https://vault.vault.svc:8200/", true},
             {"https://vault.vault.svc:8200/", "https://vault.vault.svc:8200", true},
             {"https://vault.vault.svc:8200", "https://VAULT.vault.Svc:8200", true},
             {"https://VAULT.vault.svc", "https://vault.vault.svc:443", true},
             {"http://vault.vault.svc", "http://vault.vault.svc:80", true},
             {"https://vault.vault.svc:8200", "http://vault.vault.svc:8200", false},
             {"http://vault.vault.svc:8200", "https://vault.vault.svc:8200", false},
             {"https://vault.vault.svc:8200", "https://vault.vault.svc:8201", false},
             {"https://vault.vault.svc:8200", "https://vault.vault.svc:82000", false},
             {"https://vault.vault.svc:8200", "https://vault.vault.svc", false},
             {"https://vault.vault.svc:8200", "https://vault.vault.svc.:8200", false},
             {"https://vault.vault.svc:8200", "https://vault.vault.svc.evil.example:8200", false},
             {"https://vault.vault.svc:8200", "https://evil.example:8200", false},
             {"https://*.example:8200", "https://eu.example:8200", true},
             {"https://*.example:8200", "https://a.eu.example:8200", false},
             {"https://*.example:8200", "https://example:8200", false},
             {"https://*.example:8200", "https://.example:8200", false},
             {"https://*.example:8200", "https://evil.test/.example:8200", false},
             {"https://*.example:8200", "https://evil.test:1@x.example:8200", false},
             {"https://*.svc", "https://vault.evil/.svc", false},
             {"https://vault-*.example", "https://vault-eu-1.example", true},
             {"https://vault-*.example", "https://vault-.example", false},
             {"https://vault*.example", "https://vault.example", true},
             {"https://*a*b*.example", "https://xxaxxbxx.example", true},
             {"https://*a*b*.example", "https://xxbxxaxx.example", false},
             {"https://*.*.example", "https://a.b.example", true},
             {"https://*", "https://vault", true},
             {"https://*", "https://vault.evil", false},
             {"https://*", "https://vault:8200", false},
             {"https://*.example", "https://[::1]", false},
             {"https://[2001:db8::1]:8200", "https://[2001:DB8:0:0::1]:8200", true},
             {"https://[2001:db8::1]:8200", "https://[2001:db8::2]:8200", false},
             {"https://10.0.0.1:8200", "https://10.0.0.1:8200", true},
             {"https://10.0.0.1:8200", "https://10.0.0.10:8200", false},
             {"https://127.0.0.1", "https://2130706433", false},
             {"", "https://vault:8200", false},
             {"*", "https://vault:8200", false},
             {"*://vault:8200", "https://vault:8200", false},
             {"https://vault:*", "https://vault:8200", false}})
        EXPECT_EQ(matches_address(row.pattern, row.address), row.allowed)
            << row.pattern << " " << row.address;
}

TEST(AddressPattern, CostsNoMoreThanTheProductOfTheLengths) {
    const std::string stars = "https://" + std::string(31, '*') + std::string(31, 'a') + "b.example";
    EXPECT_FALSE(matches_address(stars, "https://" + std::string(63, 'a') + ".example"));
}

TEST(AddressPattern, ThatIsNoneIsToldOf) {
    for (const char* good : {"https://*.example:8200", "https://vault", "http://*", "https://[::1]:8200"})
        EXPECT_TRUE(check_address_pattern(good)) << good;
    for (const char* bad : {"", "*", "vault:8200", "https://*:*", "*://vault", "https://vault/*",
                            "https://[*]", "https://*@vault", "https://*..example"})
        EXPECT_FALSE(check_address_pattern(bad)) << bad;
}

TEST(TenantReach, IsToldForWhatATenantsServiceCouldAnswer) {
    for (const char* pattern :
         {"https://*.svc:8200", "https://vault.*.svc:8200", "https://vault.*.svc.cluster.local:8200",
          "http://*", "https://*:8200", "https://vault:8200", "https://vault.vault:8200",
          "https://*.*.svc:8200", "https://vault.te*.svc", "https://a.b.*.svc", "https://*.*.*",
          "https://vault.vault.s*", "https://10.96.*.*:8200", "https://10-0-0-1.*.pod.cluster.local",
          "https://vault.*.*.local"})
        EXPECT_FALSE(tenant_reach(pattern).empty()) << pattern;
    for (const char* pattern :
         {"https://vault.vault.svc:8200", "https://*.vault.svc:8200",
          "https://vault.vault.svc.cluster.local:8200", "https://*.vault.example.com:8200",
          "https://10.0.0.1:8200", "https://127.0.0.1:8200", "https://[::1]:8200", "http://localhost:8200"})
        EXPECT_EQ(tenant_reach(pattern), "") << pattern;
    EXPECT_NE(tenant_reach("https://vault.*.svc:8200").find("https://*.vault.svc:8200"), std::string::npos)
        << "it says what to write";
}

}  // namespace
}  // namespace keyshepherd
