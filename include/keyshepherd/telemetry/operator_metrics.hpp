// What the operator counts, in Prometheus' text format. Labels are closed sets, or names of providers; for
// one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace keyshepherd::telemetry {

class OperatorMetrics {
public:
    OperatorMetrics();
    ~OperatorMetrics();
    OperatorMetrics(const OperatorMetrics&) = delete;
    OperatorMetrics& operator=(const OperatorMetrics&) = delete;

    // `result`: success, changed, refused, error
    void reconciled(std::string_view kind, std::string_view result, double seconds);
    void drift(std::string_view kind, bool repaired);
    void orphaned(std::string_view kind);
    // How many objects of deleted resources are recorded as still in Vault.
    void left_in_vault(std::size_t objects);
    void vault_request(std::string_view operation, std::string_view code);
    void vault_login(bool succeeded);
    void leading(bool leading);
    // Seconds that our clock is ahead of a server's: "vault" or "kubernetes".
    void clock_lead(std::string_view server, std::int64_t seconds);
    void waiting(std::size_t keys);
    void watch_failed();
    // Of a provider; `ns` is "" for one of the cluster.
    void key_version(std::string_view provider, std::string_view ns, std::int64_t version);
    void key_valid(std::string_view provider, std::string_view ns, bool valid);
    void key_validity_unknown(std::string_view provider, std::string_view ns);
    // No version and no validity is told any more.
    void forget_key(std::string_view provider, std::string_view ns);
    // `result`: rolled, refused, error
    void rotation_rollout(std::string_view provider, std::string_view result);

    std::string text() const;

private:
    struct Series;
    std::unique_ptr<Series> series_;
};

}  // namespace keyshepherd::telemetry
