// A cache of one Kubernetes collection kept current: list, watch, resume, and what to do when one of them
// fails. Pure: next() says what to do now, the caller does it, reports how it went, and passes on the
// changes.
//
//     empty --initial events--> opening --> watching --end, error--> opening (from the last resourceVersion)
//       \--pages--------------/    \--410-----------> empty (the cache stays, to compare with the list)
//
// Guarantees: 1. It never ends by itself; every failure leads to another attempt, after a wait. 2. What is
// handed out after a list is the whole state at once, with the keys that are gone since the last one; with
// `early` its objects go out as they come, none of them is held, and only the end is told at once. 3. A
// watch resumes from the last resourceVersion seen (bookmarks count), and one that listed is followed by one
// that is short enough to notice a dead connection. 4. A server that refuses initial
// events, ends them in an error, or fails at them three times in a row is asked for pages from then on.
// 5. Objects carry no managedFields.
#pragma once

#include <keyshepherd/core/result.hpp>
#include <keyshepherd/fsm/backoff.hpp>

#include <nlohmann/json.hpp>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace keyshepherd::fsm {

struct WatchTimes {
    // After an answer that refuses: only a change on the server helps.
    Backoff backoff{std::chrono::milliseconds(800), std::chrono::seconds(30)};
    // While the server does not answer, or says that it cannot: its return is noticed within this cap.
    Backoff away{std::chrono::milliseconds(800), std::chrono::seconds(4)};
    Duration quiet = std::chrono::seconds(20);    // a watch that lasted so long forgets earlier failures
    Duration shortest = std::chrono::seconds(1);  // a watch that ended sooner and said nothing has failed
    // What the server is asked to end a watch after. It sends a bookmark shortly before that, and otherwise
    // only once a minute: a short watch is the only one whose silence says soon that its connection is dead.
    std::chrono::seconds server_timeout{30};
    Duration idle_margin = std::chrono::seconds(10);  // how much later a silent connection counts as dead
    std::chrono::seconds list_timeout{290};           // of a watch that lists by initial events
    Duration initial_events =
        std::chrono::minutes(1);  // for the first event of a list by watch, and each next
};

// "namespace/name", or "name" in no namespace; empty when there is no name.
std::string object_key(const nlohmann::json& object);

class WatchMachine {
public:
    // What the caller does next.
    struct List {
        std::string continue_token;  // empty: the first page
    };
    struct Watch {
        std::string resource_version;  // empty with initial_events
        bool initial_events = false;
        std::chrono::seconds timeout{};
    };
    struct Read {
        Duration within{};  // the next event must come before
    };
    struct Sleep {
        Duration time{};
    };
    using Action = std::variant<List, Watch, Read, Sleep>;

    // What the cache becomes.
    struct Listed {  // of a list that is not whole yet
        std::vector<nlohmann::json> objects;
    };
    struct Replaced {
        std::vector<nlohmann::json> objects;  // those that were not Listed
        std::vector<std::string> gone;        // keys of what was there before and is no more
    };
    struct Applied {
        nlohmann::json object;
    };
    struct Removed {
        std::string key;
        nlohmann::json object;  // its last state
    };
    using Change = std::variant<std::monostate, Listed, Replaced, Applied, Removed>;

    explicit WatchMachine(WatchTimes times = {}, bool early = false) : times_(times), early_(early) {}

    Action next() const;

    Change page(std::vector<nlohmann::json> items, std::string continue_token, std::string resource_version,
                Instant now, double unit);
    void opened(Instant now);
    // `type` as the server writes it: ADDED, MODIFIED, DELETED, BOOKMARK, ERROR.
    Change event(std::string_view type, nlohmann::json object, Instant now, double unit);
    // The stream ended as streams do.
    void ended(Instant now, double unit);
    // Whatever next() asked for failed. `unit` is for the jitter of the wait.
    void failed(const Error& error, Instant now, double unit);
    void slept();

    bool synced() const { return synced_; }  // a whole state was handed out
    // Of the last failure; none since it went well.
    const std::optional<Error>& error() const { return error_; }
    const std::string& resource_version() const { return resource_version_; }

private:
    enum class State { empty, paging, opening, initial, watching };

    // Takes an object of a list; it goes out by `now` when it is not held.
    void take(std::string key, nlohmann::json object, std::vector<nlohmann::json>& now);
    Replaced replace(State then);
    void relist();
    void back_off(const Error& error, Instant now, double unit);

    WatchTimes times_;
    bool early_;
    State state_ = State::empty;
    bool initial_events_ = true;  // until a server refuses them
    bool synced_ = false;
    bool heard_ = false;  // something since the stream was opened
    std::optional<Duration> wait_;
    std::optional<Error> error_;
    unsigned failures_ = 0;
    unsigned attempts_ = 0;  // in a row, of one kind: for the wait
    bool away_ = false;      // of the last failure: the server did not answer, or could not
    Instant opened_at_{};
    std::string continue_token_;
    std::string resource_version_;
    std::map<std::string, nlohmann::json>
        incoming_;                 // by key, until the list is whole; null when it went out
    std::set<std::string> known_;  // keys that were handed out
};

}  // namespace keyshepherd::fsm
