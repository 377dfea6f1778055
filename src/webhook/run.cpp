#include "cluster_view.hpp"

#include <keyshepherd/core/build.hpp>
#include <keyshepherd/core/server_address.hpp>
#include <keyshepherd/net/wiped.hpp>
#include <keyshepherd/webhook/routes.hpp>
#include <keyshepherd/webhook/run.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <sstream>

namespace keyshepherd::webhook {

namespace {

namespace asio = boost::asio;

using Executor = asio::io_context::executor_type;
using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                         asio::wait_traits<std::chrono::steady_clock>, Executor>;
using Signals = asio::basic_signal_set<Executor>;
constexpr asio::as_tuple_t<asio::use_awaitable_t<Executor>> no_throw{};

void prepare_process(telemetry::Log& log) {
    std::signal(SIGPIPE, SIG_IGN);
    net::forbid_core_files();  // the private key is in this memory
    rlimit files{};
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) != 0) log.warn("cannot raise the open file limit");
    }
    // A body of megabytes goes back to the system when it is answered; otherwise glibc raises this threshold
    // at the first.
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
}

std::string text_of(const asio::ip::tcp::endpoint& endpoint) {
    std::ostringstream text;
    text << endpoint;
    return std::move(text).str();
}

class Process {
public:
    Process(Options options, telemetry::Log log, net::Certificate certificate, inject::Catalog catalog,
            net::WatchedFiles certificate_files, net::WatchedFiles catalog_files)
        : options_(std::move(options)),
          log_(std::move(log)),
          certificate_(std::move(certificate)),
          view_{.catalog = std::move(catalog), .namespaces = options_.namespaces, .unread = ""},
          routes_(view_, options_.settings, certificate_.not_after, log_, metrics_,
                  !options_.client_ca_file.empty()),
          certificate_files_(std::move(certificate_files)),
          catalog_files_(std::move(catalog_files)),
          server_(
              context_, [this](const net::Request& request) { return routes_.admission_port(request); },
              {.limits = options_.limits, .certificate = &certificate_, .log = &log_, .metrics = &metrics_}),
          metrics_server_(context_,
                          [this](const net::Request& request) { return routes_.metrics_port(request); },
                          {.limits = metrics_limits(options_.limits), .log = &log_}) {
        if (!options_.cluster) return;
        cluster_.emplace(
            context_, *options_.cluster, view_, view_.catalog, options_.provider_rules,
            options_.settings.default_provider, [this] { server_.wake(); }, log_, metrics_);
    }

    result<int> run() {
        KEYSHEPHERD_TRY(const auto address, server_.listen(options_.listen));
        KEYSHEPHERD_TRY(const auto metrics_address, metrics_server_.listen(options_.metrics_listen));
        metrics_.certificate_loaded(seconds(certificate_.not_after), false);
        asio::co_spawn(context_, run_until_signal(), rethrow);
        asio::co_spawn(context_, watch_files(), rethrow);
        asio::co_spawn(context_, look_on_hangup(), rethrow);
        warn_of_tenant_reach();
        if (cluster_) cluster_->start();
        log_.info("serving", {{"address", text_of(address)},
                              {"metricsAddress", text_of(metrics_address)},
                              {"version", version()},
                              {"commit", commit()},
                              {"kubernetesVersion", options_.settings.kubernetes.text()},
                              {"lowestKubelet", options_.settings.lowest_kubelet.text()},
                              {"providersFrom",
                               options_.cluster ? options_.cluster->origin.text() : std::string("flags")},
                              {"certificateNotAfter", net::format_time(certificate_.not_after)}});
        if (options_.settings.image.empty())
            log_.warn("--image is not set; the webhook rejects every workload whose wiring is not secret");
        context_.run();
        return 0;
    }

private:
    void warn_of_tenant_reach() {
        for (const std::string& pattern : options_.provider_rules.vault_addresses)
            if (const std::string reach = tenant_reach(pattern); !reach.empty())
                log_.warn("a tenant may control an allowed Vault address",
                          {{"address", pattern}, {"reason", reach}});
    }

    static net::Limits metrics_limits(net::Limits limits) {
        limits.sessions = std::min<std::size_t>(limits.sessions, 64);
        limits.body_bytes = 16 * 1024;
        return limits;
    }
    static double seconds(net::WallTime time) { return static_cast<double>(time.time_since_epoch().count()); }
    static void rethrow(const std::exception_ptr& e) {
        if (e) std::rethrow_exception(e);
    }

    asio::awaitable<void, Executor> run_until_signal() {
        auto [ec, signal] = co_await end_.async_wait(no_throw);
        end_.async_wait([](const boost::system::error_code& failed, int second) {
            if (!failed) std::_Exit(128 + second);
        });
        log_.info("draining", {{"signal", signal},
                               {"sessions", server_.sessions()},
                               {"seconds", options_.drain.count() / 1000.0}});
        routes_.drain();
        server_.drain();
        Timer timer(context_, options_.drain);
        co_await timer.async_wait(no_throw);

        log_.info("stopping", {{"sessions", server_.sessions()}});
        server_.stop();
        const bool all = co_await server_.finished(options_.shutdown);
        if (!all)
            log_.warn("closing connections that did not finish in time", {{"sessions", server_.sessions()}});
        server_.close_all();
        metrics_server_.stop();
        metrics_server_.close_all();
        ended_ = true;
        watch_timer_.cancel();
        hangup_.cancel();
        end_.cancel();
        // Their connections are kept, and would keep this process.
        const bool left = cluster_ && !co_await cluster_->stop(std::chrono::seconds(5));
        log_.info("stopped");
        if (!cluster_) co_return;
        co_await server_.finished(std::chrono::seconds(1));
        co_await metrics_server_.finished(std::chrono::seconds(1));
        if (left) std::_Exit(0);
        context_.stop();
    }

    asio::awaitable<void, Executor> watch_files() {
        while (!ended_) {
            watch_timer_.expires_after(options_.poll);
            co_await watch_timer_.async_wait(no_throw);
            if (!ended_) look();
        }
    }

    asio::awaitable<void, Executor> look_on_hangup() {
        while (!ended_) {
            auto [ec, signal] = co_await hangup_.async_wait(no_throw);
            if (!ec) look();
        }
    }

    void look() {
        if (certificate_files_.changed()) reload_certificate();
        if (catalog_files_.changed()) reload_catalog();
    }

    void reload_certificate() {
        auto loaded =
            net::load_certificate(options_.certificate_file, options_.key_file, options_.client_ca_file);
        if (loaded && loaded->not_after <= std::chrono::system_clock::now())
            loaded = fail(Errc::invalid,
                          fmt::format("the certificate expired at {}", net::format_time(loaded->not_after)));
        if (!loaded) {
            metrics_.certificate_reload_failed();
            log_.error("cannot load the new certificate; keeping the current one",
                       {{"error", loaded.error().message}});
            return;
        }
        certificate_ = std::move(*loaded);
        routes_.certificate_expires(certificate_.not_after);
        metrics_.certificate_loaded(seconds(certificate_.not_after), true);
        log_.info("certificate loaded", {{"notAfter", net::format_time(certificate_.not_after)}});
    }

    void reload_catalog() {
        auto loaded = options_.load_catalog();
        if (!loaded) {
            metrics_.provider_reload_failed();
            log_.error("cannot load the new providers; keeping the current ones",
                       {{"error", loaded.error().message}});
            return;
        }
        if (cluster_)
            cluster_->use(std::move(*loaded));
        else
            view_.catalog = std::move(*loaded);
        metrics_.providers_loaded(true);
        log_.info("providers loaded");
    }

    Options options_;
    telemetry::Log log_;
    telemetry::Metrics metrics_;
    net::Certificate certificate_;
    View view_;
    Routes routes_;
    net::WatchedFiles certificate_files_;
    net::WatchedFiles catalog_files_;
    asio::io_context context_{1};
    Timer watch_timer_{context_};
    // From the first: a signal that comes between the line "serving" and the loop is not lost.
    Signals end_{context_, SIGTERM, SIGINT};
    Signals hangup_{context_, SIGHUP};
    net::Server server_;
    net::Server metrics_server_;
    std::optional<ClusterView> cluster_;
    bool ended_ = false;
};

}  // namespace

result<int> run(Options options) {
    telemetry::Log log(options.log_level, options.log_format);
    prepare_process(log);
    // Before the first load, so that a change in between is seen as one.
    std::vector<std::string> files = {options.certificate_file, options.key_file};
    if (!options.client_ca_file.empty()) files.push_back(options.client_ca_file);
    net::WatchedFiles certificate_files(std::move(files));
    net::WatchedFiles catalog_files(options.catalog_files);
    KEYSHEPHERD_TRY(auto certificate, net::load_certificate(options.certificate_file, options.key_file,
                                                            options.client_ca_file));
    KEYSHEPHERD_TRY(auto catalog, options.load_catalog());
    Process process(std::move(options), std::move(log), std::move(certificate), std::move(catalog),
                    std::move(certificate_files), std::move(catalog_files));
    return process.run();
}

}  // namespace keyshepherd::webhook
