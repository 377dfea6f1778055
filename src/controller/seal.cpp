#include "seal.hpp"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>

namespace keyshepherd::controller {

namespace {

const kube::Resource secrets{"", "v1", "secrets", true};
constexpr const char* secret_name = "keyshepherd-operator-key";

std::string hexadecimal(const unsigned char* bytes, std::size_t size) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i) text += fmt::format("{:02x}", bytes[i]);
    return text;
}

// The Secret's value as it is stored, which does for a key.
std::string key_of(kube::Json& secret) {
    std::string key;
    if (const auto data = secret.find("data"); data != secret.end() && data->is_object())
        key = data->value("key", "");
    kube::wipe(secret);
    return key.size() >= 64 ? key : std::string();
}

}  // namespace

kube::Task<result<void>> Seal::open(kube::Client& kube, std::string ns, kube::Deadline deadline) {
    if (!key_.empty()) co_return result<void>();
    const kube::ObjectRef ref{secrets, ns, secret_name};
    auto secret = co_await kube.get(ref, deadline);
    if (!secret && secret.error().code == Errc::not_found) {
        std::array<unsigned char, 32> bytes{};
        if (RAND_bytes(bytes.data(), bytes.size()) != 1) co_return fail(Errc::internal, "no randomness");
        kube::Json made = {{"apiVersion", "v1"},
                           {"kind", "Secret"},
                           {"metadata", {{"name", secret_name}}},
                           {"stringData", {{"key", hexadecimal(bytes.data(), bytes.size())}}}};
        OPENSSL_cleanse(bytes.data(), bytes.size());
        secret = co_await kube.create(secrets, ns, std::move(made), deadline);
        if (!secret && kube::already_exists(secret.error())) secret = co_await kube.get(ref, deadline);
    }
    if (!secret) co_return std::unexpected(secret.error());
    key_ = key_of(*secret);
    if (key_.empty())
        co_return fail(Errc::invalid, fmt::format("Secret {}/{} holds no key: delete it, and another is made",
                                                  ns, secret_name));
    co_return result<void>();
}

std::string Seal::mark(std::string_view uid, std::string_view claim) const {
    if (key_.empty()) return {};
    const std::string text = fmt::format("{}\n{}", uid, claim);
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    if (HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(),
             &size) == nullptr)
        return {};
    return hexadecimal(digest.data(), size);
}

bool Seal::made(std::string_view given, std::string_view uid, std::string_view claim) const {
    const std::string right = mark(uid, claim);
    return !right.empty() && given.size() == right.size() &&
           CRYPTO_memcmp(given.data(), right.data(), right.size()) == 0;
}

}  // namespace keyshepherd::controller
