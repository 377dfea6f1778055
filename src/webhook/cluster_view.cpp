#include "cluster_view.hpp"

#include <keyshepherd/core/build.hpp>
#include <keyshepherd/resources/kind.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace keyshepherd::webhook {

namespace {

namespace asio = boost::asio;

kube::Resource resource_of(std::string_view kind) {
    const resources::Kind& row = *resources::find_kind(kind);
    return {std::string(resources::group), std::string(resources::version), std::string(row.plural),
            row.namespaced};
}

// What a provider is read from, and nothing else: its status changes more often than it does.
std::string document_of(const kube::Json& object) {
    const kube::Metadata metadata = kube::metadata(object);
    kube::Json document = {{"apiVersion", object.value("apiVersion", "")},
                           {"kind", object.value("kind", "")},
                           {"metadata", {{"name", metadata.name}}}};
    if (!metadata.ns.empty()) document["metadata"]["namespace"] = metadata.ns;
    if (const auto spec = object.find("spec"); spec != object.end()) document["spec"] = *spec;
    return document.dump();
}

}  // namespace

ClusterView::Collection::Collection(ClusterView& owner_, kube::Resource resource_)
    : owner(owner_), resource(std::move(resource_)) {}

void ClusterView::Collection::replaced(std::vector<kube::Json> objects,
                                       const std::vector<std::string>& gone) {
    for (const std::string& key : gone) erase(key);
    for (kube::Json& object : objects) applied(std::move(object));
    synced = true;
    owner.changed();
}

void ClusterView::Collection::removed(const std::string& key, kube::Json) {
    erase(key);
    owner.changed();
}

void ClusterView::Collection::failed(const Error& error, std::chrono::milliseconds wait) {
    failure = error.message;
    owner.metrics_.watch_failed();
    owner.log_.warn(owner.synced() ? "cannot watch; serving the last known state" : "cannot watch",
                    {{"resource", resource.plural}, {"error", failure}, {"waitMs", wait.count()}});
    owner.changed();
}

void ClusterView::Collection::recovered() {
    failure.clear();
    owner.log_.info("watch resumed", {{"resource", resource.plural}});
    owner.changed();
}

void ClusterView::Providers::applied(kube::Json object) {
    std::string document = document_of(object);
    std::string& known = documents[kube::key(object)];
    if (known == document) return;
    known = std::move(document);
    owner.put(known);
    if (owner.synced()) owner.changed();
}

void ClusterView::Providers::erase(const std::string& key) {
    documents.erase(key);
    const auto [ns, name] = kube::split_key(key);
    owner.view_.catalog.erase(ns, name);
    owner.log_.info("provider removed", {{"resource", resource.plural}, {"namespace", ns}, {"name", name}});
}

void ClusterView::NamespaceLabels::applied(kube::Json object) {
    if (owner.view_.namespaces.put(kube::key(object), kube::labels(object))) owner.news_();
}

void ClusterView::NamespaceLabels::erase(const std::string& key) {
    owner.view_.namespaces.erase(key);
}

ClusterView::ClusterView(asio::io_context& context, kube::Config config, View& view, inject::Catalog base,
                         provider::Rules rules, std::string default_provider, std::function<void()> news,
                         telemetry::Log& log, telemetry::Metrics& metrics)
    : context_(context),
      client_(context, std::move(config), fmt::format("keyshepherd/{}", version())),
      view_(view),
      rules_(std::move(rules)),
      default_provider_(std::move(default_provider)),
      news_(std::move(news)),
      log_(log),
      metrics_(metrics),
      own_(*this, resource_of("AIProvider")),
      shared_(*this, resource_of("ClusterAIProvider")),
      namespaces_(*this, {"", "v1", "namespaces", false}),
      all_{&own_, &shared_, &namespaces_},
      ended_(context.get_executor()) {
    view_.catalog = std::move(base);
    view_.unread = "the initial list of providers is not complete";
}

void ClusterView::start() {
    for (Collection* collection : all_) {
        ++running_;
        asio::co_spawn(
            context_, kube::reflect(client_, collection->resource, "", *collection, {.early = true}),
            asio::bind_cancellation_slot(stops_.emplace_back().slot(), [this](const std::exception_ptr& e) {
                --running_;
                ended_.notify_all();
                if (e) std::rethrow_exception(e);
            }));
    }
    changed();
}

void ClusterView::use(inject::Catalog base) {
    view_.catalog = std::move(base);
    for (const Providers* providers : {&own_, &shared_})
        for (const auto& [key, document] : providers->documents) put(document);
    changed();
}

void ClusterView::put(const std::string& document) {
    auto declared = provider::read(kube::Json::parse(document), view_.catalog.installation(), rules_);
    if (!declared) return;  // of another version of the API than this watches
    const std::string ns = declared->workload_namespace;
    const std::string name = declared->provider.name;
    const auto taken = view_.catalog.put(*std::move(declared));
    if (!taken)
        log_.warn("ignoring invalid provider",
                  {{"namespace", ns}, {"name", name}, {"error", taken.error().message}});
    else if (synced())
        log_.info("provider loaded", {{"namespace", ns}, {"name", name}});
    if (!ns.empty() && view_.catalog.is_overruled(ns, name))
        log_.warn("ignoring AIProvider: its name is in use by a ClusterAIProvider or the built-in provider",
                  {{"namespace", ns}, {"name", name}});
    news_();
}

// After whatever was told: what is still unread, and the metrics.
void ClusterView::changed() {
    metrics_.providers(view_.catalog.usable(), view_.catalog.faulty());
    metrics_.watches_failing(static_cast<std::size_t>(
        std::ranges::count_if(all_, [](const Collection* each) { return !each->failure.empty(); })));
    if (synced()) return;
    std::string unread;
    for (const Collection* each : all_) {
        if (each->synced) continue;
        unread += unread.empty() ? "waiting for the initial list of " : ", ";
        unread += each->resource.plural;
        if (!each->failure.empty()) unread += fmt::format(" ({})", each->failure);
    }
    view_.unread = std::move(unread);
    if (!synced()) return;
    log_.info("initial list of providers complete",
              {{"providers", view_.catalog.usable()}, {"faulty", view_.catalog.faulty()}});
    if (!view_.catalog.has(default_provider_))
        log_.warn(
            "the provider of --default-provider does not exist; the webhook rejects `inject: \"true\"` until "
            "it does",
            {{"provider", default_provider_}});
}

net::Task<bool> ClusterView::stop(std::chrono::milliseconds within) {
    for (auto& stop : stops_) stop.emit(asio::cancellation_type::terminal);
    const auto until = net::SteadyClock::now() + within;
    while (running_ > 0 && co_await ended_.wait(until) == net::Wake::notified) {
    }
    co_return running_ == 0;
}

}  // namespace keyshepherd::webhook
