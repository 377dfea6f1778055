#include "claim_signer.hpp"

#include <keyshepherd/net/wiped.hpp>
#include <keyshepherd/planner/delivery.hpp>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <utility>

namespace keyshepherd::controller {

namespace {

const kube::Resource secrets{"", "v1", "secrets", true};
const kube::Resource namespaces{"", "v1", "namespaces", false};
constexpr const char* secret_name = "keyshepherd-operator-key";

std::string hexadecimal(const unsigned char* bytes, std::size_t size) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i) text += fmt::format("{:02x}", bytes[i]);
    return text;
}

bool same(std::string_view given, const std::string& right) {
    return !right.empty() && given.size() == right.size() &&
           CRYPTO_memcmp(given.data(), right.data(), right.size()) == 0;
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

kube::Task<result<void>> ClaimSigner::open(kube::Client& kube, std::string ns, kube::Deadline deadline) {
    if (!key_.empty()) co_return result<void>();
    const kube::ObjectRef ref{secrets, ns, secret_name};
    auto secret = co_await kube.get(ref, deadline);
    if (!secret && secret.error().code == Errc::not_found) {
        std::array<unsigned char, 32> bytes{};
        if (RAND_bytes(bytes.data(), bytes.size()) != 1)
            co_return fail(Errc::internal, "cannot generate random bytes");
        kube::Json made = {{"apiVersion", "v1"},
                           {"kind", "Secret"},
                           {"metadata", {{"name", secret_name}}},
                           {"stringData", {{"key", hexadecimal(bytes.data(), bytes.size())}}}};
        OPENSSL_cleanse(bytes.data(), bytes.size());
        secret = co_await kube.create(secrets, ns, std::move(made), deadline);
        if (!secret && kube::already_exists(secret.error())) secret = co_await kube.get(ref, deadline);
    }
    if (!secret) co_return std::unexpected(secret.error());
    std::string key = key_of(*secret);
    if (key.empty())
        co_return fail(Errc::invalid,
                       fmt::format("Secret {}/{} does not contain a key. Restore it from a backup. Without "
                                   "the key, every resource must adopt its object in Vault again",
                                   ns, secret_name));
    auto cluster = co_await kube.get({namespaces, "", "kube-system"}, deadline);
    if (!cluster) {
        kube::wipe(key);
        co_return std::unexpected(cluster.error());
    }
    open(std::move(key), kube::metadata(*cluster).uid);
    co_return result<void>();
}

void ClaimSigner::open(std::string key, std::string cluster) {
    key_ = std::move(key);
    cluster_ = std::move(cluster);
}

std::string ClaimSigner::hmac(std::string_view text) const {
    if (key_.empty()) return {};
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    if (HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(),
             &size) == nullptr)
        return {};
    return hexadecimal(digest.data(), size);
}

// JSON keeps the parts apart, whatever they hold.
std::string ClaimSigner::digest(const kube::Json& what) const {
    return hmac(what.dump(-1, ' ', false, kube::Json::error_handler_t::replace));
}

std::string ClaimSigner::fingerprint(std::string_view path, const kube::Json& fields) const {
    std::string text;
    // A length before each part: no two sets of fields give one text.
    const auto add = [&](std::string_view part) {
        net::append_wiping(text, fmt::format("{}:", part.size()));
        net::append_wiping(text, part);
    };
    net::append_wiping(text, "values of KV version 1\n");  // begins no text of digest()
    add(path);
    for (const auto& [name, field] : fields.items()) {
        auto value = planner::carried_value(fields, name);
        if (!value) continue;
        add(name);
        add(*value);
        net::wipe(*value);
    }
    std::string made = hmac(text);
    net::wipe(text);
    return made;
}

std::string ClaimSigner::mark(std::string_view uid, std::string_view claim) const {
    return digest(kube::Json::array({"claim", cluster_, uid, claim}));
}

std::string ClaimSigner::seal(std::string_view uid, const kube::Json& facts) const {
    return digest(kube::Json::array({"status", cluster_, uid, facts}));
}

bool ClaimSigner::is_mark(std::string_view given, std::string_view uid, std::string_view claim) const {
    return same(given, mark(uid, claim));
}

bool ClaimSigner::is_seal(std::string_view given, std::string_view uid, const kube::Json& facts) const {
    return same(given, seal(uid, facts));
}

}  // namespace keyshepherd::controller
