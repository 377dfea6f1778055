// The webhook as a process: two servers, reload of certificates and providers, signals, an orderly end.
#pragma once

#include <keyshepherd/core/result.hpp>
#include <keyshepherd/inject/namespaces.hpp>
#include <keyshepherd/inject/provider.hpp>
#include <keyshepherd/inject/settings.hpp>
#include <keyshepherd/kube/config.hpp>
#include <keyshepherd/net/server.hpp>
#include <keyshepherd/provider/provider.hpp>
#include <keyshepherd/telemetry/log.hpp>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace keyshepherd::webhook {

struct Options {
    std::string listen = "0.0.0.0:8443";
    std::string metrics_listen = "0.0.0.0:9402";
    std::string certificate_file;
    std::string key_file;
    std::string client_ca_file;  // only its clients may ask for a review; "": every client may
    inject::Settings settings;
    // All providers; with `cluster` what the cluster's own providers come over.
    std::function<result<inject::Catalog>()> load_catalog;
    provider::Rules provider_rules = {};       // for the cluster's own providers
    std::optional<kube::Config> cluster = {};  // where providers and namespaces are watched
    inject::Namespaces namespaces{};           // how it starts
    std::vector<std::string> catalog_files;    // a change of these calls load_catalog again
    net::Limits limits;
    std::chrono::milliseconds poll{5'000};       // of the files
    std::chrono::milliseconds drain{5'000};      // not ready, still accepting
    std::chrono::milliseconds shutdown{20'000};  // then, for what is under way
    telemetry::Level log_level = telemetry::Level::info;
    telemetry::Format log_format = telemetry::Format::json;
};

// Serves until SIGTERM or SIGINT, then drains and gives the exit code. A second signal ends the process at
// once; SIGHUP looks at the files now. An error means that it never served.
result<int> run(Options options);

}  // namespace keyshepherd::webhook
