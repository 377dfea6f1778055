#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/core/text.hpp>
#include <keyshepherd/kube/event.hpp>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <openssl/rand.h>

#include <algorithm>
#include <ctime>

namespace keyshepherd::kube {

namespace {

const Resource events{"events.k8s.io", "v1", "events", true};

constexpr std::size_t longest_word = 128;
constexpr std::size_t longest_note = 1024;
constexpr std::size_t longest_name = 253;

}  // namespace

std::string micro_time(std::chrono::system_clock::time_point time) {
    using namespace std::chrono;
    const auto whole = floor<seconds>(time);
    const auto rest = duration_cast<microseconds>(time - whole).count();
    return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:06}Z", fmt::gmtime(system_clock::to_time_t(whole)), rest);
}

Json event_body(const Json& regarding, const Event& event, const Reporter& reporter, std::string_view time,
                std::string_view suffix) {
    const Metadata about = metadata(regarding);
    const std::string ns = about.ns.empty() ? "default" : about.ns;
    const std::size_t room = longest_name - std::min(longest_name, suffix.size() + 1);
    Json reference = {{"apiVersion", text_at(regarding, "apiVersion")},
                      {"kind", text_at(regarding, "kind")},
                      {"name", about.name},
                      {"uid", about.uid},
                      {"resourceVersion", about.resource_version}};
    if (!about.ns.empty()) reference["namespace"] = about.ns;
    return Json{{"apiVersion", "events.k8s.io/v1"},
                {"kind", "Event"},
                {"metadata",
                 {{"name", fmt::format("{}.{}", std::string_view(about.name).substr(0, room), suffix)},
                  {"namespace", ns}}},
                {"eventTime", time},
                {"reportingController", reporter.controller},
                {"reportingInstance", beginning(reporter.instance, longest_word)},
                {"type", event.type == Event::Type::warning ? "Warning" : "Normal"},
                {"reason", beginning(event.reason, longest_word)},
                {"action", beginning(event.action, longest_word)},
                {"note", beginning(printable(event.note), longest_note)},
                {"regarding", std::move(reference)}};
}

Task<result<void>> report(Client& client, Json regarding, Event event, Reporter reporter, Deadline deadline) {
    const auto now = std::chrono::system_clock::now();
    unsigned char random[4] = {};
    RAND_bytes(random, sizeof(random));
    const std::string suffix =
        fmt::format("{:x}{:02x}{:02x}{:02x}{:02x}",
                    std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count(),
                    random[0], random[1], random[2], random[3]);
    Json body = event_body(regarding, event, reporter, micro_time(now), suffix);
    std::string ns = body["metadata"]["namespace"].get<std::string>();
    auto created = co_await client.create(events, std::move(ns), std::move(body), deadline);
    if (!created) co_return std::unexpected(std::move(created).error());
    co_return result<void>();
}

}  // namespace keyshepherd::kube
