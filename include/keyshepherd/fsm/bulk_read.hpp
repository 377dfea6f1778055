// Decides whether one request for all objects of a kind replaces single reads. Pure: the caller passes the
// time and sends the requests.
//
//     switch (bulk.look(now, oldest)) {
//         case Look::kept:   // use the last answer, which is bulk.age(now) old
//         case Look::ask:    bulk.asked(now); …; bulk.answered(now, objects) or bulk.failed(now, pause)
//         case Look::wait:   // a request is pending; look again when it has its answer
//         case Look::singly: // read the one object
//     }
//     bulk.expect(now + wait);   // announces the next look
//
// For each object, managed or not, a list costs the server about a third of a read (OpenBao 2.7: 0.12 ms of
// processor time instead of 0.38). A list is therefore requested only if the expected looks are at least half
// of the objects. Resources that were compared together, for example after a start, stay together. A list is
// never requested for a few looks.
#pragma once

#include <keyshepherd/fsm/backoff.hpp>

#include <cstddef>
#include <optional>
#include <set>

namespace keyshepherd::fsm {

enum class Look { kept, ask, wait, singly };

class BulkRead {
public:
    // `fewest`: the minimum number of looks that a list must replace. 1 means that a list costs no more than
    // one read, for any number of objects, and that looks need not be announced.
    explicit BulkRead(std::size_t fewest) : fewest_(fewest) {}

    // A look that accepts an answer that was requested at most `oldest` ago.
    Look look(Instant now, Duration oldest);
    void expect(Instant at);

    void asked(Instant now);
    void answered(Instant now, std::size_t objects);
    // The list cannot be used. It is not requested again for `pause`.
    void failed(Instant now, Duration pause);

    bool asking() const { return asking_.has_value(); }
    // The time since the last answer was requested. nullopt if there is no answer.
    std::optional<Duration> age(Instant now) const;

private:
    bool pays(Instant now, Duration oldest);

    std::size_t fewest_;
    std::size_t objects_ = 0;  // in the last answer
    std::optional<Instant> asking_;
    std::optional<Instant> taken_;
    Instant not_before_{};
    std::multiset<Instant> expected_;
};

}  // namespace keyshepherd::fsm
