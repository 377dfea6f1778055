// The routes of the webhook: which request means what. No socket; one object a process, on the server's
// thread.
//
//     POST /mutate    AdmissionReview in, AdmissionReview out
//     GET  /healthz   200 while the process lives
//     GET  /readyz    200 when requests should come here, else 503 and why not
//     GET  /metrics   on the metrics port only
#pragma once

#include <keyshepherd/inject/settings.hpp>
#include <keyshepherd/net/certificate.hpp>
#include <keyshepherd/net/http.hpp>
#include <keyshepherd/telemetry/log.hpp>
#include <keyshepherd/telemetry/metrics.hpp>
#include <keyshepherd/webhook/view.hpp>

#include <string>

namespace keyshepherd::webhook {

class Routes {
public:
    // `view`, `log` and `metrics` outlive this. `verified_clients_only`: /mutate is for clients with a
    // certificate of the client CA; the health paths are for everyone, since kubelet has none.
    Routes(const View& view, inject::Settings settings, net::WallTime certificate_not_after,
           telemetry::Log& log, telemetry::Metrics& metrics, bool verified_clients_only = false);

    net::Response admission_port(const net::Request& request);
    net::Response metrics_port(const net::Request& request);

    void certificate_expires(net::WallTime not_after) { not_after_ = not_after; }
    void drain() { draining_ = true; }

private:
    net::Response mutate(const net::Request& request);
    net::Response readiness() const;

    const View& view_;
    inject::Settings settings_;
    net::WallTime not_after_;
    bool verified_clients_only_;
    bool draining_ = false;
    telemetry::Log& log_;
    telemetry::Metrics& metrics_;
};

}  // namespace keyshepherd::webhook
