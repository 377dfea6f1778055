// The routes of the webhook: which request means what. No socket; one object a process, on the server's
// thread.
//
//     POST /mutate    AdmissionReview in, AdmissionReview out
//     GET  /healthz   200 while the process lives
//     GET  /readyz    200 when requests should come here, else 503 and why not
//     GET  /metrics   on the metrics port only
#pragma once

#include <keyshepherd/inject/provider.hpp>
#include <keyshepherd/inject/settings.hpp>
#include <keyshepherd/net/certificate.hpp>
#include <keyshepherd/net/http.hpp>
#include <keyshepherd/telemetry/log.hpp>
#include <keyshepherd/telemetry/metrics.hpp>

#include <string>

namespace keyshepherd::webhook {

class Routes {
public:
    // `log` and `metrics` outlive this.
    Routes(inject::Catalog catalog, inject::Settings settings, net::WallTime certificate_not_after,
           telemetry::Log& log, telemetry::Metrics& metrics);

    net::Response admission_port(const net::Request& request);
    net::Response metrics_port(const net::Request& request);

    void use(inject::Catalog catalog) { catalog_ = std::move(catalog); }
    void certificate_expires(net::WallTime not_after) { not_after_ = not_after; }
    void drain() { draining_ = true; }

private:
    net::Response mutate(const net::Request& request);
    net::Response readiness() const;

    inject::Catalog catalog_;
    inject::Settings settings_;
    net::WallTime not_after_;
    bool draining_ = false;
    telemetry::Log& log_;
    telemetry::Metrics& metrics_;
};

}  // namespace keyshepherd::webhook
