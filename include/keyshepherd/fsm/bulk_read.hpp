// Whether one question about all objects of a sort takes the place of many, one for each. Pure: the caller
// tells the time, and sends what there is to send.
//
//     switch (bulk.look(now, oldest)) {
//         case Look::kept:   // the last answer does; it is bulk.age(now) old
//         case Look::ask:    bulk.asked(now); …; bulk.answered(now, objects) or bulk.failed(now, pause)
//         case Look::wait:   // another look asks already; look again when it has its answer
//         case Look::singly: // ask about the one object
//     }
//     bulk.expect(now + wait);   // the next look
//
// To list costs the server nearly a third of a read for each object that there is, ours or not (measured on
// OpenBao 2.7: 0.12 ms of processor time against 0.38). So it is done only when as many looks as half of the
// objects are about to come: those of resources that were looked at together, as after a start, stay
// together. Never for a few.
#pragma once

#include <keyshepherd/fsm/backoff.hpp>

#include <cstddef>
#include <optional>
#include <set>

namespace keyshepherd::fsm {

enum class Look { kept, ask, wait, singly };

class BulkRead {
public:
    // `fewest`: looks that one question has to take the place of. 1: it costs no more than a single one,
    // however many objects there are, and looks need not be expected.
    explicit BulkRead(std::size_t fewest) : fewest_(fewest) {}

    // A look that takes an answer that was asked for no longer than `oldest` ago.
    Look look(Instant now, Duration oldest);
    void expect(Instant at);

    void asked(Instant now);
    void answered(Instant now, std::size_t objects);
    // Of no use, and not asked again for `pause`.
    void failed(Instant now, Duration pause);

    bool asking() const { return asking_.has_value(); }
    // Since the answer that there is was asked for: nothing in it is older. nullopt: there is none.
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
