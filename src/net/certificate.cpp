#include <keyshepherd/net/certificate.hpp>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <fstream>
#include <memory>
#include <optional>

namespace keyshepherd::net {

namespace {

namespace ssl = boost::asio::ssl;

constexpr std::streamoff largest_file = 1024 * 1024;

// Bytes that are wiped when done with.
struct Wiped {
    std::string text;

    Wiped() = default;
    Wiped(Wiped&&) = default;
    Wiped& operator=(Wiped&&) = default;
    ~Wiped() { OPENSSL_cleanse(text.data(), text.size()); }
};

std::optional<Wiped> read_file(const std::string& path) {
    std::filebuf in;
    in.pubsetbuf(nullptr, 0);  // no copy of the key in a buffer that nobody wipes
    if (in.open(path, std::ios::in | std::ios::binary) == nullptr) return std::nullopt;
    const std::streamoff size = in.pubseekoff(0, std::ios::end);
    if (size < 0 || size > largest_file || in.pubseekoff(0, std::ios::beg) != 0) return std::nullopt;
    Wiped read;
    read.text.resize(static_cast<std::size_t>(size));
    const std::streamsize got = in.sgetn(read.text.data(), size);
    read.text.resize(static_cast<std::size_t>(std::max<std::streamsize>(got, 0)));
    return read;
}

std::string openssl_error() {
    const unsigned long code = ERR_get_error();
    ERR_clear_error();
    const char* reason = ERR_reason_error_string(code);
    return reason != nullptr ? reason : "unknown TLS error";
}

int choose_protocol(SSL*, const unsigned char** out, unsigned char* length, const unsigned char* offered,
                    unsigned offered_length, void*) {
    static constexpr unsigned char http11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    unsigned char* chosen = nullptr;
    if (SSL_select_next_proto(&chosen, length, http11, sizeof(http11), offered, offered_length) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

result<WallTime> not_after(SSL_CTX* context) {
    const X509* leaf = SSL_CTX_get0_certificate(context);
    std::tm time{};
    if (leaf == nullptr || ASN1_TIME_to_tm(X509_get0_notAfter(leaf), &time) != 1)
        return fail(Errc::invalid, "cannot read notAfter of the certificate");
    return WallTime(std::chrono::seconds(timegm(&time)));
}

// The verification of OpenSSL's server side takes only certificates whose extended key usage, if there is
// one, has clientAuth.
result<void> trust_clients_of(SSL_CTX* context, std::string_view client_ca) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> pem(
        BIO_new_mem_buf(client_ca.data(), static_cast<int>(client_ca.size())), &BIO_free);
    if (pem == nullptr) return fail(Errc::internal, "out of memory while reading the client CA");
    std::size_t certificates = 0;
    for (;;) {
        const std::unique_ptr<X509, decltype(&X509_free)> each(
            PEM_read_bio_X509(pem.get(), nullptr, nullptr, nullptr), &X509_free);
        if (each == nullptr) break;
        if (X509_check_ca(each.get()) == 0)
            return fail(Errc::invalid, "the client CA file contains a certificate that is not a CA");
        if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), each.get()) != 1 ||
            SSL_CTX_add_client_CA(context, each.get()) != 1)
            return fail(Errc::invalid, fmt::format("cannot use the client CA: {}", openssl_error()));
        ++certificates;
    }
    // The end of the file is the only error that is none.
    const unsigned long last = ERR_peek_last_error();
    const bool at_end = ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    if (certificates == 0 || !at_end)
        return fail(Errc::invalid, "the client CA file must contain valid PEM certificates only");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    return {};
}

}  // namespace

result<Certificate> make_certificate(std::string_view chain, std::string_view key,
                                     std::string_view client_ca) {
    ERR_clear_error();
    ssl::context context(ssl::context::tls_server);
    SSL_CTX* const handle = context.native_handle();
    SSL_CTX_set_min_proto_version(handle, TLS1_2_VERSION);
    // Go's client resumes no session; a cache would only be memory that clients can fill.
    SSL_CTX_set_options(handle, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
                                    SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_num_tickets(handle, 0);
    SSL_CTX_set_session_cache_mode(handle, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(handle, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(handle, 1);  // else a record costs two calls of the system
    SSL_CTX_set_alpn_select_cb(handle, choose_protocol, nullptr);

    boost::system::error_code ec;
    // Else OpenSSL would ask for the password of an encrypted key on the terminal.
    context.set_password_callback([](std::size_t, ssl::context::password_purpose) { return std::string(); },
                                  ec);
    context.use_certificate_chain(boost::asio::buffer(chain), ec);
    if (ec) return fail(Errc::invalid, fmt::format("invalid PEM certificate: {}", ec.message()));
    context.use_private_key(boost::asio::buffer(key), ssl::context::pem, ec);
    if (ec) return fail(Errc::invalid, fmt::format("invalid private key: {}", ec.message()));
    if (SSL_CTX_check_private_key(handle) != 1)
        return fail(Errc::invalid,
                    fmt::format("the private key does not match the certificate: {}", openssl_error()));
    if (!client_ca.empty()) KEYSHEPHERD_TRY_CHECK(trust_clients_of(handle, client_ca));
    KEYSHEPHERD_TRY(const WallTime until, not_after(handle));
    return Certificate{std::move(context), until};
}

result<Certificate> load_certificate(const std::string& chain_file, const std::string& key_file,
                                     const std::string& client_ca_file) {
    const auto chain = read_file(chain_file);
    if (!chain) return fail(Errc::not_found, fmt::format("cannot read {}", chain_file));
    const auto key = read_file(key_file);
    if (!key) return fail(Errc::not_found, fmt::format("cannot read {}", key_file));
    std::string client_ca;
    if (!client_ca_file.empty()) {
        const auto read = read_file(client_ca_file);
        if (!read) return fail(Errc::not_found, fmt::format("cannot read {}", client_ca_file));
        if (read->text.empty()) return fail(Errc::invalid, fmt::format("{} is empty", client_ca_file));
        client_ca = read->text;
    }
    auto made = make_certificate(chain->text, key->text, client_ca);
    if (!made)
        return fail(made.error().code,
                    fmt::format("{} with {}{}{}: {}", chain_file, key_file,
                                client_ca_file.empty() ? "" : " and ", client_ca_file, made.error().message));
    return made;
}

std::string format_time(WallTime time) {
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                       fmt::gmtime(static_cast<std::time_t>(time.time_since_epoch().count())));
}

WatchedFiles::WatchedFiles(std::vector<std::string> paths) : paths_(std::move(paths)), seen_(fingerprint()) {}

bool WatchedFiles::changed() {
    std::string now = fingerprint();
    if (now == seen_) return false;
    seen_ = std::move(now);
    return true;
}

std::string WatchedFiles::fingerprint() const {
    std::string all;
    for (const std::string& path : paths_) {
        const auto content = read_file(path);
        if (!content) {
            all += "absent;";
            continue;
        }
        unsigned char digest[EVP_MAX_MD_SIZE];
        unsigned length = 0;
        EVP_Digest(content->text.data(), content->text.size(), digest, &length, EVP_sha256(), nullptr);
        all.append(digest, digest + length);
    }
    return all;
}

}  // namespace keyshepherd::net
