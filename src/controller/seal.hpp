// Proves what the operator itself wrote, on objects that others may write too: an HMAC with a key that lies
// in a Secret beside the Lease, and that the first leader creates. It covers the uid of the resource and the
// cluster, so a resource that is restored, or copied into another cluster, has none that holds.
//
// A mark, in an annotation, proves that the resource claims an object in Vault. It is written together with
// the finalizer before anything is created there: after a crash the object is known as the resource's own.
//
// A seal, in the status, covers all facts there that the operator acts on.
#pragma once

#include <keyshepherd/kube/client.hpp>

#include <string>
#include <string_view>

namespace keyshepherd::controller {

class Seal {
public:
    // Reads the key, or creates it, and the identity of the cluster, which is the uid of the namespace
    // kube-system; nothing when that is done. Until it is, nothing is proven.
    kube::Task<result<void>> open(kube::Client& kube, std::string ns, kube::Deadline deadline);
    // The same out of what is given.
    void open(std::string key, std::string cluster);

    // As hexadecimal digits; "" before open().
    std::string mark(std::string_view uid, std::string_view claim) const;
    std::string seal(std::string_view uid, const kube::Json& facts) const;
    // Whether it is that of open()'s key and cluster; false before open().
    bool is_mark(std::string_view given, std::string_view uid, std::string_view claim) const;
    bool is_seal(std::string_view given, std::string_view uid, const kube::Json& facts) const;
    // The HMAC of the path and of those fields of a secret in Vault that a variable can carry. It tells one
    // value from the next without revealing either.
    std::string fingerprint(std::string_view path, const kube::Json& fields) const;

private:
    std::string hmac(std::string_view text) const;
    std::string digest(const kube::Json& what) const;

    std::string key_;
    std::string cluster_;
};

}  // namespace keyshepherd::controller
