#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/fsm/watch.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace keyshepherd::fsm {

namespace {

using Json = nlohmann::json;

// After so many failures in a row the resourceVersion itself is doubted: one that lies in the server's future
// (etcd came back from a backup) is refused for ever, and not with 410.
constexpr unsigned doubtful = 8;
// After so many in a row a list by watch is given up for pages: a server may refuse it with any error.
constexpr unsigned hopeless = 3;
// A Retry-After beyond it is not believed.
constexpr std::chrono::minutes longest_wait{5};

const Json& metadata_of(const Json& object) {
    static const Json none = Json::object();
    if (!object.is_object()) return none;
    const auto found = object.find("metadata");
    return found != object.end() && found->is_object() ? *found : none;
}

bool ends_initial_events(const Json& object) {
    const Json& metadata = metadata_of(object);
    const auto annotations = metadata.find("annotations");
    return annotations != metadata.end() && annotations->is_object() &&
           text_at(*annotations, "k8s.io/initial-events-end") == "true";
}

// The Status of an ERROR event.
Error error_of(const Json& status) {
    if (!status.is_object()) return Error(Errc::protocol, "the watch returned an error that is not a Status");
    const auto code = status.find("code");
    const int number = code != status.end() && code->is_number_integer() ? code->get<int>() : 0;
    const std::string reason = text_at(status, "reason");
    const Errc kind = number == 410 || reason == "Expired" || reason == "Gone" ? Errc::gone
                      : number == 400 || number == 422                         ? Errc::invalid
                      : number == 401                                          ? Errc::unauthorized
                      : number == 403                                          ? Errc::forbidden
                      : number == 429                                          ? Errc::throttled
                                                                               : Errc::unavailable;
    Error error(kind, fmt::format("the watch returned an error: {} {}: {}", number, reason,
                                  text_at(status, "message").substr(0, 300)));
    if (const auto details = status.find("details"); details != status.end() && details->is_object())
        if (const auto seconds = details->find("retryAfterSeconds");
            seconds != details->end() && seconds->is_number_integer())
            error.retry_after = std::chrono::seconds(
                std::clamp(seconds->get<std::int64_t>(), std::int64_t{0}, std::int64_t{24 * 3600}));
    return error;
}

void slim(Json& object) {
    if (const auto metadata = object.find("metadata"); metadata != object.end() && metadata->is_object())
        metadata->erase("managedFields");
}

}  // namespace

std::string object_key(const Json& object) {
    const Json& metadata = metadata_of(object);
    const std::string ns = text_at(metadata, "namespace");
    std::string name = text_at(metadata, "name");
    return ns.empty() || name.empty() ? name : ns + '/' + name;
}

WatchMachine::Action WatchMachine::next() const {
    if (wait_) return Sleep{*wait_};
    switch (state_) {
        case State::empty:
            if (initial_events_) return Watch{"", true, times_.list_timeout};
            return List{};
        case State::paging:
            return List{continue_token_};
        case State::opening:
            return Watch{resource_version_, false, times_.server_timeout};
        case State::initial:
            return Read{times_.initial_events};
        case State::watching:
            return Read{times_.server_timeout + times_.idle_margin};
    }
    std::unreachable();
}

void WatchMachine::relist() {
    state_ = State::empty;
    incoming_.clear();
    continue_token_.clear();
}

void WatchMachine::take(std::string key, Json object, std::vector<Json>& now) {
    slim(object);
    if (!early_) {
        incoming_.insert_or_assign(std::move(key), std::move(object));
        return;
    }
    known_.insert(key);  // should the list not come to its end, its absence from the next one is told
    incoming_.insert_or_assign(std::move(key), nullptr);
    now.push_back(std::move(object));
}

WatchMachine::Replaced WatchMachine::replace(State then) {
    Replaced replaced;
    std::set<std::string> now_known;
    for (auto& [key, object] : incoming_) {
        now_known.insert(key);
        if (!object.is_null()) replaced.objects.push_back(std::move(object));
    }
    std::ranges::set_difference(known_, now_known, std::back_inserter(replaced.gone));
    known_ = std::move(now_known);
    incoming_.clear();
    continue_token_.clear();
    state_ = then;
    synced_ = true;
    return replaced;
}

void WatchMachine::back_off(const Error& error, Instant now, double unit) {
    const bool was_open = state_ == State::watching || state_ == State::initial;
    const bool listing_by_watch = initial_events_ && (state_ == State::empty || state_ == State::initial);
    if (was_open && now - opened_at_ >= times_.quiet) failures_ = attempts_ = 0;
    // A server that is back refuses for a moment, until it has read who may do what: that is another matter
    // than its absence, and is not tried again only after the wait of the absence.
    const bool away = error.code == Errc::unavailable || error.code == Errc::timeout;
    if (std::exchange(away_, away) != away) attempts_ = 0;
    const Duration asked = std::min<Duration>(error.retry_after, longest_wait);
    wait_ = std::max(doubled(away ? times_.away : times_.backoff, attempts_++, unit), asked);
    ++failures_;
    error_ = error;
    if (listing_by_watch && failures_ >= hopeless) initial_events_ = false;
}

WatchMachine::Change WatchMachine::page(std::vector<Json> items, std::string continue_token,
                                        std::string resource_version, Instant now, double unit) {
    if (continue_token.empty() && resource_version.empty()) {
        failed(Error(Errc::protocol, "the list has no resourceVersion"), now, unit);
        relist();
        return {};
    }
    Listed listed;
    for (Json& item : items) {
        std::string key = object_key(item);
        if (!key.empty()) take(std::move(key), std::move(item), listed.objects);
    }
    error_.reset();
    if (!continue_token.empty()) {
        state_ = State::paging;
        continue_token_ = std::move(continue_token);
        if (listed.objects.empty()) return {};
        return listed;
    }
    resource_version_ = std::move(resource_version);
    Replaced replaced = replace(State::opening);
    if (early_) replaced.objects = std::move(listed.objects);
    return replaced;
}

void WatchMachine::opened(Instant now) {
    state_ = state_ == State::empty ? State::initial : State::watching;
    opened_at_ = now;
    heard_ = false;
    error_.reset();
}

WatchMachine::Change WatchMachine::event(std::string_view type, Json object, Instant now, double unit) {
    if (type == "ERROR") {
        const Error error = error_of(object);
        // With an etcd that is too old, the API server offers initial events and ends them with an error of
        // 500.
        if (state_ == State::initial && error.code != Errc::gone && error.code != Errc::throttled) {
            initial_events_ = false;
            relist();
        } else {
            failed(error, now, unit);
        }
        return {};
    }
    std::string version = text_at(metadata_of(object), "resourceVersion");
    std::string key = object_key(object);
    const bool bookmark = type == "BOOKMARK";
    const bool deleted = type == "DELETED";
    if ((!bookmark && !deleted && type != "ADDED" && type != "MODIFIED") || version.empty() ||
        (!bookmark && key.empty())) {
        failed(
            Error(Errc::protocol, "the watch returned an event without a type, a name or a resourceVersion"),
            now, unit);
        return {};
    }
    heard_ = true;
    if (state_ == State::initial) {
        if (!bookmark) {
            if (deleted) {
                incoming_.erase(key);
                return {};
            }
            Listed listed;
            take(std::move(key), std::move(object), listed.objects);
            if (listed.objects.empty()) return {};
            return listed;
        }
        if (!ends_initial_events(object)) {
            // A server that does not know of initial events ignores the wish for them.
            initial_events_ = false;
            relist();
            return {};
        }
        resource_version_ = std::move(version);
        return replace(State::opening);
    }
    resource_version_ = std::move(version);
    if (bookmark) return {};
    slim(object);
    if (deleted) {
        known_.erase(key);
        return Removed{std::move(key), std::move(object)};
    }
    known_.insert(std::move(key));
    return Applied{std::move(object)};
}

void WatchMachine::ended(Instant now, double unit) {
    if (state_ == State::initial) {
        back_off(Error(Errc::unavailable, "the watch ended before its initial events were complete"), now,
                 unit);
        relist();
        return;
    }
    if (!heard_ && now - opened_at_ < times_.shortest)
        back_off(Error(Errc::unavailable, "the watch ended immediately"), now, unit);
    else if (now - opened_at_ >= times_.quiet)
        failures_ = attempts_ = 0;
    state_ = State::opening;
}

void WatchMachine::failed(const Error& error, Instant now, double unit) {
    const bool listing_by_watch = initial_events_ && (state_ == State::empty || state_ == State::initial);
    if (listing_by_watch &&
        (error.code == Errc::invalid || (error.code == Errc::timeout && state_ == State::initial))) {
        initial_events_ = false;
        relist();
        return;
    }
    back_off(error, now, unit);
    switch (state_) {
        case State::empty:
            break;
        case State::initial:
            relist();
            break;
        case State::paging:
            if (error.code == Errc::gone || error.code == Errc::invalid) relist();
            break;
        case State::opening:
        case State::watching:
            state_ = State::opening;
            if (error.code == Errc::gone || error.code == Errc::invalid || failures_ >= doubtful) relist();
            break;
    }
}

void WatchMachine::slept() {
    wait_.reset();
}

}  // namespace keyshepherd::fsm
