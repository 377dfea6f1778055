// What an answer of Vault or OpenBao means. Pure: bytes in, a document or an Error out.
//
// One status says several things there: 404 is "absent" or "no such mount", 500 may be invalid input, 403 may
// be "gone already". The texts that tell them apart are in the table of answer.cpp.
#pragma once

#include <keyshepherd/core/result.hpp>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::vault {

struct Question {
    std::string_view method;
    std::string_view path;  // encoded, without /v1/
};

// The answer's document: {} for 204. nullopt: what was asked for is absent (404 with no error in it).
// Errors: invalid (400 and its like), unauthorized (no or a dead token, when the text says so), forbidden,
// not_found (the mount, the role or the accessor does not exist, or what a write needs is absent), conflict
// (check-and-set, or exists already), throttled and unavailable (with retry_after when the answer named one),
// protocol (no JSON where it has to be). Detail::sealed tells of a sealed Vault. The message holds method and
// path, and what Vault said, shortened to one line. `keep` sees each part as it is parsed, at its depth in
// the document, and says what stays in it.
result<std::optional<nlohmann::json>> read_answer(Question question, int status, std::string_view body,
                                                  std::string_view retry_after = {},
                                                  const nlohmann::json::parser_callback_t& keep = nullptr);

// The document's warnings.
std::vector<std::string> warnings(const nlohmann::json& document);

// Of an answer to `?help=1`: the names of the parameters that a POST to the path may have. nullopt: the
// answer does not describe them (https://openbao.org/api-docs/system/internal-specs-openapi/).
std::optional<std::set<std::string>> parameters(const nlohmann::json& document);

struct Health {
    bool initialized = false;
    bool sealed = true;
    bool standby = false;
    std::string version = {};
    std::string cluster_id = {};  // another one than before: another Vault
    std::int64_t time = 0;        // of the server's clock, in seconds since 1970; 0: it does not say
    // Whether the server obeys X-Vault-Namespace. HashiCorp Vault does with an Enterprise license, and
    // OpenBao from 2.3 on; the others ignore the header and serve the root namespace
    // (https://developer.hashicorp.com/vault/docs/enterprise/namespaces).
    bool has_namespaces = true;

    bool usable() const { return initialized && !sealed; }
};

// Why a server that is not usable() is not: Errc::unavailable, with Detail::sealed when it is sealed.
Error unusable(const Health& health);

// Of sys/health, which answers with its body under many a status. Errc::unavailable: an error of a proxy.
result<Health> read_health(int status, std::string_view body);

// A path of segments, each percent-encoded: path({"sys/policies/acl", name}). A '/' in a segment divides it
// (names of policies and mounts may hold one). Errc::invalid for "", ".", ".." and control characters.
result<std::string> path(std::initializer_list<std::string_view> segments);

// Whether `path` may be sent as it is: encoded, no empty and no dot segment, nothing that ends the request
// line. A query may follow.
bool is_safe_path(std::string_view path);

}  // namespace keyshepherd::vault
