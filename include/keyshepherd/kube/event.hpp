// events.k8s.io/v1: what `kubectl describe` shows below an object.
#pragma once

#include <keyshepherd/kube/client.hpp>

#include <chrono>
#include <string>
#include <string_view>

namespace keyshepherd::kube {

struct Event {
    enum class Type { normal, warning };
    Type type = Type::normal;
    std::string reason;  // CamelCase, at most 128 bytes
    std::string action;  // what was done or tried, CamelCase, at most 128 bytes
    std::string note;    // for people; cut at 1 KiB, as the API server wants it
};

struct Reporter {
    std::string controller;  // "keyshepherd.dev/operator"
    std::string instance;    // the pod
};

// Pure. `regarding` is the object with apiVersion, kind and metadata; `time` is RFC 3339 with microseconds;
// `suffix` makes the name unique. The Event lies in the object's namespace, or in "default".
Json event_body(const Json& regarding, const Event& event, const Reporter& reporter, std::string_view time,
                std::string_view suffix);

// Creates the Event; whatever happens, the caller goes on: what came of it is only for a log.
Task<result<void>> report(Client& client, Json regarding, Event event, Reporter reporter, Deadline deadline);

// RFC 3339 with microseconds, as the API's MicroTime wants it: "2026-11-24T06:39:00.123456Z".
std::string micro_time(std::chrono::system_clock::time_point time);

}  // namespace keyshepherd::kube
