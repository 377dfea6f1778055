// The API server's REST verbs, one coroutine a call; each ends by its deadline.
//
//     Client client(context, config);
//     auto secret = co_await client.get({secrets, "default", "db"}, SteadyClock::now() + 10s);
//
// Made for one thread, that of `context`; outlives every call and every Watch.
//
// Errors. An answer that is no 2xx: 400, 413, 422 invalid; 401 unauthorized (after one more try with fresh
// credentials); 403 forbidden; 404 not_found; 409 conflict, see already_exists(); 410 gone; 429 throttled;
// 5xx unavailable; the rest protocol. Retry-After is taken over. The message says the verb, the path, the
// Status' reason and its text; not its text for Secrets, which may repeat a piece of what was sent. Besides,
// the errors of net::Client.
#pragma once

#include <keyshepherd/core/result.hpp>
#include <keyshepherd/kube/config.hpp>
#include <keyshepherd/kube/object.hpp>
#include <keyshepherd/net/client.hpp>
#include <keyshepherd/net/task.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::kube {

using net::Deadline;
using net::SteadyClock;
using net::Task;

struct ListOptions {
    std::string label_selector = {};
    std::string field_selector = {};
    unsigned limit = 500;
    std::string continue_token = {};
    std::string resource_version = {};
};

struct Page {
    std::vector<Json> items;     // each with the apiVersion and kind that the list leaves out
    std::string continue_token;  // empty: the last page
    std::string resource_version;
};

struct Patch {
    enum class Kind { json_patch, merge, apply };
    Kind kind = Kind::merge;
    Json body;
    std::string field_manager = {};  // apply needs one
    bool force = false;              // apply: take fields from other managers
};

struct Preconditions {
    std::string uid = {};
    std::string resource_version = {};
};

enum class Propagation { background, foreground, orphan };

struct WatchOptions {
    std::string label_selector = {};
    std::string field_selector = {};
    std::string resource_version = {};
    bool initial_events = false;        // sendInitialEvents, until the bookmark that ends them
    std::chrono::seconds timeout{290};  // the server ends the stream after it
};

struct WatchEvent {
    std::string type;  // ADDED, MODIFIED, DELETED, BOOKMARK, ERROR (the object is a Status then)
    Json object;
};

class Watch {
public:
    Watch() = default;  // a stream that has ended
    explicit Watch(std::unique_ptr<net::Lines> lines) : lines_(std::move(lines)) {}
    // nullopt at the end of the stream. Errc::timeout leaves it usable; after any other error it is not.
    Task<result<std::optional<WatchEvent>>> next(Deadline deadline);

private:
    std::unique_ptr<net::Lines> lines_;
};

class Client {
public:
    Client(boost::asio::io_context& context, Config config, std::string user_agent = "keyshepherd");
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    Task<result<Json>> get(ObjectRef ref, Deadline deadline);
    Task<result<Page>> list(Resource resource, std::string ns, ListOptions options, Deadline deadline);
    Task<result<Json>> create(Resource resource, std::string ns, Json object, Deadline deadline);
    Task<result<Json>> patch(ObjectRef ref, Patch patch, Deadline deadline);
    // Ends when the API server has taken it; with finalizers the object is gone only later. Errc::conflict:
    // another object or version than `preconditions` say. Errc::not_found: there is none.
    Task<result<void>> remove(ObjectRef ref, Preconditions preconditions, Propagation propagation,
                              Deadline deadline);
    // `deadline` is for the answer's header.
    Task<result<Watch>> watch(Resource resource, std::string ns, WatchOptions options, Deadline deadline);

    // A token of a service account for one audience; Errc::invalid without one, since such a token would be
    // good for the API server itself. The server may give it another life than `seconds`.
    Task<result<std::string>> service_account_token(std::string ns, std::string name, std::string audience,
                                                    std::chrono::seconds seconds, Deadline deadline);
    Task<result<std::string>> server_version(Deadline deadline);  // "v1.34.1"

    // The API server's clock when it sent its latest answer, in seconds since 1970: the answer's Date header,
    // which it writes after it has done what was asked. 0 before the first answer, and when a proxy drops the
    // header. Compare creationTimestamp with this, and not with this machine's clock.
    std::int64_t server_time() const;

    const Config& config() const;

private:
    class Session;
    std::shared_ptr<Session> session_;
};

// Of a conflict: the name is taken, rather than the object changed meanwhile.
bool already_exists(const Error& error);

// Pure: what an answer that is no 2xx means; see above. `subject` is the verb and the path.
Error error_of(std::string_view subject, const net::Answer& answer, bool quote);

// Overwrites the bytes, then empties.
void wipe(std::string& text);
// Every text in it.
void wipe(Json& json);

}  // namespace keyshepherd::kube
