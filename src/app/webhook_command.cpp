#include "commands.hpp"
#include "environment_flag.hpp"
#include "settings_flags.hpp"

#include <keyshepherd/core/kubernetes_version.hpp>
#include <keyshepherd/kube/client.hpp>
#include <keyshepherd/kube/token.hpp>
#include <keyshepherd/webhook/run.hpp>

#include <boost/asio/co_spawn.hpp>
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>

namespace keyshepherd::app {

namespace {

struct WebhookFlags {
    SettingsFlags shared;
    std::string kubeconfig;
    webhook::Options options;
    std::string log_level = "info";
    std::string log_format = "json";
    double poll_seconds = 5;
    double drain_seconds = 5;
    double shutdown_seconds = 20;
    double handshake_seconds = 10;
    double request_seconds = 10;
    double answer_seconds = 10;
    double idle_seconds = 180;
};

std::chrono::milliseconds milliseconds(double seconds) {
    return std::chrono::milliseconds(static_cast<long>(seconds * 1000));
}

// "1.37", of the API server's /version.
result<std::string> ask_version(const std::string& kubeconfig) {
    KEYSHEPHERD_TRY(kube::Config config, kube::load(kubeconfig));
    boost::asio::io_context context;
    kube::Client client(context, std::move(config));
    result<std::string> version = fail(Errc::internal, "not requested");
    boost::asio::co_spawn(context, client.server_version(kube::SteadyClock::now() + std::chrono::seconds(10)),
                          [&](const std::exception_ptr& thrown, result<std::string> answer) {
                              if (thrown) std::rethrow_exception(thrown);
                              version = std::move(answer);
                              context.stop();
                          });
    context.run();
    if (!version) return version;
    KEYSHEPHERD_TRY(const auto parsed, parse_kubernetes_version(*version));
    return parsed.text();
}

// Where providers are watched. Only credentials that were meant for the webhook count: those in somebody's
// home folder do not make a webhook on a laptop depend on whatever cluster they are for.
result<std::optional<kube::Config>> cluster_of(const WebhookFlags& flags) {
    if (!flags.shared.providers_file.empty()) return std::nullopt;
    auto config = flags.kubeconfig.empty() ? kube::in_cluster() : kube::load(flags.kubeconfig);
    if (!config && flags.kubeconfig.empty() && config.error().code == Errc::not_found) return std::nullopt;
    if (!config) return fail(config.error().code, fmt::format("--kubeconfig: {}", config.error().message));
    return std::move(*config);
}

// The token that tells of the API server's audiences: that of the watch, else that of the pod.
std::vector<std::string> audiences_of_api_server(const WebhookFlags& flags) {
    const auto config = flags.kubeconfig.empty() ? kube::in_cluster() : kube::load(flags.kubeconfig);
    return config ? kube::api_server_audiences(*config) : std::vector<std::string>();
}

result<void> readable(std::string_view flag, const std::string& path) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), &std::fclose);
    if (!file)
        return fail(Errc::not_found, fmt::format("{}: cannot open {}: {}", flag, path, std::strerror(errno)));
    return {};
}

result<int> serve(const WebhookFlags& flags) {
    webhook::Options options = flags.options;
    SettingsFlags shared = flags.shared;
    result<void> version;
    if (shared.kubernetes_version.empty()) {
        if (auto asked = ask_version(flags.kubeconfig))
            shared.kubernetes_version = std::move(*asked);
        else
            version = fail(
                asked.error().code,
                fmt::format(
                    "--kubernetes-version is not set, and the version cannot be read from the API server: {}",
                    asked.error().message));
    }
    // https://kubernetes.io/releases/version-skew-policy/: a kubelet may be three minors older than the API
    // server.
    const auto settings = settings_from(shared, 3);
    auto cluster = cluster_of(flags);
    const auto audiences =
        check_audiences("--allowed-token-audience", flags.shared.settings.allowed_token_audiences,
                        audiences_of_api_server(flags));
    const auto load = cluster && *cluster ? built_in_from : catalog_from;
    const auto catalog = load(flags.shared);
    const auto certificate = readable("--tls-cert-file", flags.options.certificate_file);
    const auto key = readable("--tls-key-file", flags.options.key_file);
    if (!version || !settings || !audiences || !cluster || !catalog || !certificate || !key)
        return fail(
            Errc::invalid,
            joined_faults({version ? nullptr : &version.error(), settings ? nullptr : &settings.error(),
                           audiences ? nullptr : &audiences.error(), cluster ? nullptr : &cluster.error(),
                           catalog ? nullptr : &catalog.error(), certificate ? nullptr : &certificate.error(),
                           key ? nullptr : &key.error()}));
    options.settings = *settings;
    KEYSHEPHERD_TRY(options.log_level, telemetry::parse_level(flags.log_level));
    KEYSHEPHERD_TRY(options.log_format, telemetry::parse_format(flags.log_format));
    options.cluster = std::move(*cluster);
    options.provider_rules = provider_rules(flags.shared);
    options.namespaces =
        options.cluster
            ? inject::Namespaces(
                  "the webhook has not received this namespace from the API server yet; try again", true)
            : inject::Namespaces(
                  "with --providers, the webhook does not read namespace labels; select by "
                  "kubernetes.io/metadata.name, or use --kubeconfig instead of --providers");
    options.load_catalog = [shared = flags.shared, load] { return load(shared); };
    for (const std::string& file : {flags.shared.providers_file, flags.shared.vault_ca_file})
        if (!file.empty()) options.catalog_files.push_back(file);
    options.poll = milliseconds(flags.poll_seconds);
    options.drain = milliseconds(flags.drain_seconds);
    options.shutdown = milliseconds(flags.shutdown_seconds);
    options.limits.handshake = milliseconds(flags.handshake_seconds);
    options.limits.request = milliseconds(flags.request_seconds);
    options.limits.answer = milliseconds(flags.answer_seconds);
    options.limits.idle = milliseconds(flags.idle_seconds);
    return webhook::run(std::move(options));
}

}  // namespace

void add_webhook_command(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<WebhookFlags>();
    CLI::App* command = app.add_subcommand("webhook", "Run the admission webhook over TLS");
    auto add = [command](const std::string& flag, auto& into, const std::string& doc) {
        return add_environment_flag(*command, flag, into, doc);
    };
    const auto positive = CLI::Range(0.05, 86'400.0);

    add("listen", flags->options.listen,
        "HOST:PORT to serve admission reviews on; port 0 selects a free port")
        ->group("Serving");
    add("metrics-listen", flags->options.metrics_listen,
        "HOST:PORT to serve /metrics, /healthz and /readyz on, over plain HTTP")
        ->group("Serving");
    add("tls-cert-file", flags->options.certificate_file,
        "PEM file with the serving certificate chain, leaf first; reloaded on change")
        ->required()
        ->group("Serving");
    add("tls-key-file", flags->options.key_file,
        "PEM file with the private key of the serving certificate; reloaded on change")
        ->required()
        ->group("Serving");
    add("client-ca-file", flags->options.client_ca_file,
        "PEM file with the CA of the API server's client certificate; if set, /mutate requires a client "
        "certificate; reloaded on change")
        ->group("Serving");
    add("reload-seconds", flags->poll_seconds,
        "Interval for checking the certificate and providers files for changes")
        ->check(positive)
        ->group("Serving");
    add("drain-seconds", flags->drain_seconds,
        "Time after SIGTERM during which the server still accepts connections and /readyz returns 503")
        ->check(CLI::Range(0.0, 86'400.0))
        ->group("Serving");
    add("shutdown-seconds", flags->shutdown_seconds,
        "Maximum time for requests in progress to finish after draining")
        ->check(positive)
        ->group("Serving");
    add("log-level", flags->log_level, "Log level: trace, debug, info, warn or error")
        ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error"}))
        ->group("Serving");
    add("log-format", flags->log_format, "Log format: json or text")
        ->check(CLI::IsMember({"json", "text"}))
        ->group("Serving");

    add("max-sessions", flags->options.limits.sessions,
        "Maximum number of connections (about 20 KB each); at the limit, a new connection closes the one "
        "that is idle longest")
        ->check(CLI::Range(4, 100'000))
        ->group("Limits");
    add("max-body-bytes", flags->options.limits.body_bytes, "Maximum size of a request body")
        ->check(CLI::Range(1'024, 1 << 30))
        ->group("Limits");
    add("max-bodies-bytes", flags->options.limits.all_bodies_bytes,
        "Maximum total size of all request bodies in memory")
        ->check(CLI::Range(1'024, 1 << 30))
        ->group("Limits");
    add("handshake-seconds", flags->handshake_seconds, "Timeout for a TLS handshake")
        ->check(positive)
        ->group("Limits");
    add("request-seconds", flags->request_seconds,
        "Timeout for reading a request header, and for reading its body")
        ->check(positive)
        ->group("Limits");
    add("answer-seconds", flags->answer_seconds, "Timeout for sending a response")
        ->check(positive)
        ->group("Limits");
    add("idle-seconds", flags->idle_seconds,
        "Timeout for idle connections; the API server keeps connections for 90 seconds, so use at least 120")
        ->check(positive)
        ->group("Limits");
    add_settings_flags(*command, flags->shared);
    add("kubeconfig", flags->kubeconfig,
        "Kubeconfig for the API server. The webhook watches AIProviders, ClusterAIProviders and Namespaces "
        "there unless --providers is set, and reads the version there unless --kubernetes-version is set. By "
        "default, the webhook uses the pod's ServiceAccount; only for the version, it also tries $KUBECONFIG "
        "and ~/.kube/config")
        ->group("Injection");

    command->callback([flags, &exit_code] {
        const auto ended = serve(*flags);
        if (!ended) {
            // As one line of the log: what reads it in a cluster expects no other.
            telemetry::Log log(telemetry::Level::error,
                               telemetry::parse_format(flags->log_format).value_or(telemetry::Format::json));
            log.error("cannot start the webhook", {{"error", ended.error().message}});
        }
        exit_code = ended ? *ended : 1;
    });
}

}  // namespace keyshepherd::app
