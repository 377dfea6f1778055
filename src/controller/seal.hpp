// Marks on objects that others may write too, and that only the operator can have made.
//
// A resource that is about to be made in Vault gets one together with its finalizer, in one write: after a
// crash it is known as ours, though its status says nothing yet. The key lies in a Secret beside the Lease,
// which the first leader makes. Without the key no mark is made or believed.
#pragma once

#include <keyshepherd/kube/client.hpp>

#include <string>
#include <string_view>

namespace keyshepherd::controller {

class Seal {
public:
    // Reads the key, or makes it; nothing when it has one already.
    kube::Task<result<void>> open(kube::Client& kube, std::string ns, kube::Deadline deadline);

    // HMAC-SHA-256 of the uid and the claim, as hexadecimal digits; "" without a key.
    std::string mark(std::string_view uid, std::string_view claim) const;
    bool made(std::string_view mark, std::string_view uid, std::string_view claim) const;

private:
    std::string key_;
};

}  // namespace keyshepherd::controller
