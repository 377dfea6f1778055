// Keeps someone informed of a whole collection, for as long as it runs.
#pragma once

#include <keyshepherd/fsm/watch.hpp>
#include <keyshepherd/kube/client.hpp>

#include <string>
#include <vector>

namespace keyshepherd::kube {

// Called on the client's thread, between two turns of the loop; does not wait for anything.
class Sink {
public:
    virtual ~Sink() = default;
    // The whole collection as it is now, at first and after every gap; `gone` are the keys of what was handed
    // out before and is not in it. From the first call on the collection is known.
    virtual void replaced(std::vector<Json> objects, const std::vector<std::string>& gone) = 0;
    // Of a list that is not whole yet, with ReflectOptions::early.
    virtual void listed(Json object) { applied(std::move(object)); }
    virtual void applied(Json object) = 0;
    virtual void removed(const std::string& key, Json last_state) = 0;
    // For logs and counters: the API server could not be read, and `wait` passes until the next attempt. What
    // was handed out is still the best there is.
    virtual void failed(const Error& error, std::chrono::milliseconds wait) = 0;
    // After a failure: it is read again, and what it has to tell comes.
    virtual void recovered() {}
};

struct ReflectOptions {
    std::string label_selector = {};
    std::string field_selector = {};
    fsm::WatchTimes times = {};
    bool early = false;  // the objects of a list go out one by one, and replaced() brings the last of them:
                         // little is held
    std::chrono::seconds call{30};  // for a page, and for the header of a watch
};

// Ends only when it is cancelled. `ns` empty: every namespace. An object is handed out without managedFields.
Task<void> reflect(Client& client, Resource resource, std::string ns, Sink& sink,
                   ReflectOptions options = {});

}  // namespace keyshepherd::kube
