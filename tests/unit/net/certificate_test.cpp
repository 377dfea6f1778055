#include <keyshepherd/net/certificate.hpp>

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <filesystem>
#include <fstream>

namespace keyshepherd::net {
namespace {

struct Pair {
    std::string chain;
    std::string key;
};

std::string text_of(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string text(data, static_cast<std::size_t>(size));
    BIO_free(bio);
    return text;
}

// Signed by its own key; expires at `not_after`. `password`: encrypts the key.
Pair make_pair(long not_after, const char* password = nullptr) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* leaf = X509_new();
    X509_set_version(leaf, 2);
    ASN1_TIME_set(X509_getm_notBefore(leaf), 0);
    ASN1_TIME_set(X509_getm_notAfter(leaf), not_after);
    X509_set_pubkey(leaf, key);
    X509_sign(leaf, key, EVP_sha256());
    BIO* chain_out = BIO_new(BIO_s_mem());
    BIO* key_out = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(chain_out, leaf);
    PEM_write_bio_PKCS8PrivateKey(
        key_out, key, password != nullptr ? EVP_aes_128_cbc() : nullptr, password,
        password != nullptr ? static_cast<int>(std::string_view(password).size()) : 0, nullptr, nullptr);
    X509_free(leaf);
    EVP_PKEY_free(key);
    return {text_of(chain_out), text_of(key_out)};
}

TEST(Certificate, GivesTheLeafsEnd) {
    const Pair pair = make_pair(1'795'502'340);
    const auto made = make_certificate(pair.chain, pair.key);
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(made->not_after.time_since_epoch().count(), 1'795'502'340);
    EXPECT_EQ(format_time(made->not_after), "2026-11-24T06:39:00Z");
}

TEST(Certificate, RefusesAPairThatIsNone) {
    const Pair one = make_pair(2'000'000'000);
    const Pair other = make_pair(2'000'000'000);
    const Pair locked = make_pair(2'000'000'000, "secret");
    const std::pair<std::string, std::string> wrong[] = {{one.chain, other.key},
                                                         {one.chain, ""},
                                                         {"", one.key},
                                                         {one.key, one.key},
                                                         {one.chain, one.chain},
                                                         {locked.chain, locked.key},
                                                         {one.chain.substr(0, 100), one.key}};
    for (const auto& [chain, key] : wrong) {
        const auto made = make_certificate(chain, key);
        ASSERT_FALSE(made);
        EXPECT_EQ(made.error().code, Errc::invalid);
        if (key.size() > 100) EXPECT_EQ(made.error().message.find(key.substr(60, 30)), std::string::npos);
    }
}

TEST(Certificate, IsReplacedByAssignment) {
    const Pair one = make_pair(2'000'000'000);
    const Pair other = make_pair(2'100'000'000);
    auto live = make_certificate(one.chain, one.key);
    auto next = make_certificate(other.chain, other.key);
    ASSERT_TRUE(live && next);
    SSL* open = SSL_new(live->context.native_handle());
    *live = std::move(*next);
    EXPECT_EQ(live->not_after.time_since_epoch().count(), 2'100'000'000);
    EXPECT_NE(SSL_get_SSL_CTX(open), live->context.native_handle());
    EXPECT_EQ(SSL_CTX_check_private_key(SSL_get_SSL_CTX(open)), 1);
    SSL_free(open);
}

class Files : public testing::Test {
protected:
    void SetUp() override { std::filesystem::create_directories(folder_); }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    std::string path(const std::string& name) const { return folder_ / name; }
    void write(const std::string& name, std::string_view text) const {
        std::ofstream(path(name), std::ios::binary) << text;
    }

    std::filesystem::path folder_ =
        std::filesystem::temp_directory_path() / ("keyshepherd-files-" + std::to_string(::getpid()));
};

TEST_F(Files, NamesTheFileThatCannotBeRead) {
    const Pair pair = make_pair(2'000'000'000);
    write("tls.crt", pair.chain);
    const auto loaded = load_certificate(path("tls.crt"), path("absent.key"));
    ASSERT_FALSE(loaded);
    EXPECT_NE(loaded.error().message.find("absent.key"), std::string::npos);
    write("tls.key", pair.key);
    EXPECT_TRUE(load_certificate(path("tls.crt"), path("tls.key")));
    EXPECT_FALSE(load_certificate(folder_, path("tls.key")));
}

TEST_F(Files, SeesEveryChangeOfBytesOnceAndNothingElse) {
    write("a", "1");
    WatchedFiles watched({path("a"), path("b")});
    EXPECT_FALSE(watched.changed());
    write("a", "1");  // same bytes, newer time
    EXPECT_FALSE(watched.changed());
    write("a", "2");  // same size, perhaps the same second
    EXPECT_TRUE(watched.changed());
    EXPECT_FALSE(watched.changed());
    write("b", "");
    EXPECT_TRUE(watched.changed());
    std::filesystem::remove(path("b"));
    EXPECT_TRUE(watched.changed());
    EXPECT_FALSE(watched.changed());
}

TEST_F(Files, SeesALinkAboveTheFileSwapped) {
    for (const char* generation : {"one", "two"}) {
        std::filesystem::create_directories(folder_ / generation);
        write(std::string(generation) + "/tls.key", generation);
    }
    std::filesystem::create_symlink("one", folder_ / "data");
    WatchedFiles watched({path("data/tls.key")});
    std::filesystem::create_symlink("two", folder_ / "data_tmp");
    std::filesystem::rename(folder_ / "data_tmp", folder_ / "data");
    EXPECT_TRUE(watched.changed());
}

}  // namespace
}  // namespace keyshepherd::net
