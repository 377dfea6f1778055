// A serving certificate with its private key, as a TLS context.
//
// Reload by assignment between two accepts: `live = std::move(*loaded)`. Connections that are open keep the
// context they were made with (OpenSSL counts references), new ones see the new certificate.
#pragma once

#include <keyshepherd/core/result.hpp>

#include <boost/asio/ssl/context.hpp>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::net {

using WallTime = std::chrono::sys_seconds;

struct Certificate {
    boost::asio::ssl::context context;
    WallTime not_after;  // of the leaf
};

// TLS 1.2 or newer, ALPN http/1.1, no renegotiation, no session cache. `chain`: PEM, leaf first.
// Errc::invalid when one of them cannot be read, or the key is not the leaf's; the message holds nothing of
// the key. `client_ca`: PEM of the CAs whose client certificates are asked for and verified; "": none is. A
// client may come without one, which Request::client_is_verified tells; with a bad one its handshake fails.
result<Certificate> make_certificate(std::string_view chain, std::string_view key,
                                     std::string_view client_ca = {});
// The same from files; the message names the file. `client_ca_file` may be "".
result<Certificate> load_certificate(const std::string& chain_file, const std::string& key_file,
                                     const std::string& client_ca_file = {});

// "2026-11-24T06:39:00Z"
std::string format_time(WallTime time);

// Tells when the bytes of any of some files changed since the last look. Goes by content, since a mounted
// Secret changes by a rename of a link above the file, and time stamps have a grain. A file that is missing
// is a content of its own.
class WatchedFiles {
public:
    explicit WatchedFiles(std::vector<std::string> paths);
    bool changed();

private:
    std::string fingerprint() const;

    std::vector<std::string> paths_;
    std::string seen_;
};

}  // namespace keyshepherd::net
