// Proves which parts of an object the operator wrote, although others can write the object too. The proof is
// an HMAC with a key from a Secret beside the Lease; the first leader creates the key. The HMAC covers the
// UID of the resource and the cluster, so it is not valid on a restored resource or a copy in another
// cluster.
//
// A mark is an annotation that proves that the resource claims an object in Vault. The operator writes it
// with the finalizer, before it creates the object. After a crash, the resource therefore still owns the
// object.
//
// A seal is a status field that covers all facts in the status that the operator acts on.
#pragma once

#include <keyshepherd/kube/client.hpp>

#include <string>
#include <string_view>

namespace keyshepherd::controller {

class ClaimSigner {
public:
    // Reads or creates the key, and reads the identity of the cluster, which is the UID of the namespace
    // kube-system. Before open() succeeds, no mark or seal is valid.
    kube::Task<result<void>> open(kube::Client& kube, std::string ns, kube::Deadline deadline);
    // Sets the key and the identity of the cluster.
    void open(std::string key, std::string cluster);

    // Hexadecimal digits; "" before open().
    std::string mark(std::string_view uid, std::string_view claim) const;
    std::string seal(std::string_view uid, const kube::Json& facts) const;
    // Whether `given` was made with the key and for the cluster of open(); false before open().
    bool is_mark(std::string_view given, std::string_view uid, std::string_view claim) const;
    bool is_seal(std::string_view given, std::string_view uid, const kube::Json& facts) const;
    // The HMAC of the path and of the fields of a secret in Vault that can be variables. It shows whether a
    // value changed and does not reveal the value.
    std::string fingerprint(std::string_view path, const kube::Json& fields) const;

private:
    std::string hmac(std::string_view text) const;
    std::string digest(const kube::Json& what) const;

    std::string key_;
    std::string cluster_;
};

}  // namespace keyshepherd::controller
