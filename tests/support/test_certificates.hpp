// Certificates for tests that speak TLS, made when asked for.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>

namespace keyshepherd::test {

struct Pem {
    std::string certificate;
    std::string key;
};

// A CA of its own; every object is another one.
class Authority {
public:
    Authority() : key_(EVP_EC_gen("P-256")), certificate_(X509_new()) {
        fill(certificate_.get(), key_.get(), "a CA of a test");
        extend(certificate_.get(), NID_basic_constraints, "critical,CA:TRUE");
        X509_sign(certificate_.get(), key_.get(), EVP_sha256());
    }

    std::string pem() const { return text_of(certificate_.get()); }
    // `names`: as OpenSSL writes them, "DNS:localhost,IP:127.0.0.1".
    Pem issue(const std::string& names) const {
        const Key key(EVP_EC_gen("P-256"));
        const Certificate leaf(X509_new());
        fill(leaf.get(), key.get(), "a leaf of a test");
        X509_set_issuer_name(leaf.get(), X509_get_subject_name(certificate_.get()));
        extend(leaf.get(), NID_subject_alt_name, names.c_str());
        X509_sign(leaf.get(), key_.get(), EVP_sha256());
        BIO* out = BIO_new(BIO_s_mem());
        PEM_write_bio_PKCS8PrivateKey(out, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
        return {text_of(leaf.get()), taken(out)};
    }

private:
    struct Free {
        void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
        void operator()(X509* certificate) const { X509_free(certificate); }
    };
    using Key = std::unique_ptr<EVP_PKEY, Free>;
    using Certificate = std::unique_ptr<X509, Free>;

    static std::string taken(BIO* bio) {
        char* data = nullptr;
        const long size = BIO_get_mem_data(bio, &data);
        std::string text(data, static_cast<std::size_t>(size));
        BIO_free(bio);
        return text;
    }
    static std::string text_of(X509* certificate) {
        BIO* out = BIO_new(BIO_s_mem());
        PEM_write_bio_X509(out, certificate);
        return taken(out);
    }
    static void fill(X509* certificate, EVP_PKEY* key, const char* name) {
        static long serial = 1;
        X509_set_version(certificate, 2);
        ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
        X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
        X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
        X509_set_pubkey(certificate, key);
        X509_NAME* const subject = X509_get_subject_name(certificate);
        const std::string numbered = std::string(name) + " " + std::to_string(serial);
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                   reinterpret_cast<const unsigned char*>(numbered.c_str()), -1, -1, 0);
        X509_set_issuer_name(certificate, subject);
    }
    static void extend(X509* certificate, int nid, const char* value) {
        X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
        X509_add_ext(certificate, extension, -1);
        X509_EXTENSION_free(extension);
    }

    Key key_;
    Certificate certificate_;
};

}  // namespace keyshepherd::test
