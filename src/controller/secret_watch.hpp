// Watches the Secrets that the operator has made, so that an edited or a deleted one is mended at once. Of a
// Secret only its name and version are kept.
#pragma once

#include "store.hpp"

#include <keyshepherd/kube/reflector.hpp>
#include <keyshepherd/net/signal.hpp>
#include <keyshepherd/telemetry/log.hpp>
#include <keyshepherd/telemetry/operator_metrics.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

namespace keyshepherd::controller {

using net::Deadline;

class SecretWatch final : public kube::Sink {
public:
    static constexpr const char* label = "app.kubernetes.io/managed-by";
    static constexpr const char* label_value = "keyshepherd-operator";
    static constexpr const char* selector = "app.kubernetes.io/managed-by=keyshepherd-operator";

    SecretWatch(std::function<void(const Key&)> wake, telemetry::OperatorMetrics& metrics,
                telemetry::Log& log)
        : wake_(std::move(wake)), metrics_(metrics), log_(log) {}

    // `owner` is woken when the Secret is another one than in this version. `version` "": whatever it is.
    void expect(const std::string& ns, const std::string& name, const Key& owner, std::string version);
    // Likewise, of one that was not looked at yet.
    void claim(const std::string& ns, const std::string& name, const Key& owner);
    // Whoever is about the Secret; of two, at most one may have it.
    std::vector<Key> claimants(const std::string& ns, const std::string& name) const;
    // Whether there may be such a Secret.
    bool exists(const std::string& ns, const std::string& name) const;
    void made(const std::string& ns, const std::string& name) { known_.insert(kube::key(ns, name)); }
    void unmade(const std::string& ns, const std::string& name) { known_.erase(kube::key(ns, name)); }
    void forget(const Key& owner);

    // Resources whose secret-ids in Vault were all looked at since we lead, and since nothing was on its way.
    bool swept(const Key& owner) const { return swept_.contains(owner); }
    void swept(const Key& owner, bool is) {
        if (is) {
            swept_.insert(owner);
            unsure_.erase(owner);
            suspect_.erase(owner);
        } else {
            swept_.erase(owner);
            suspect_.insert_or_assign(owner, net::SteadyClock::now());
        }
    }
    // A registration that was given up may arrive in Vault until then (seconds since 1970).
    void unsure(const Key& owner, std::int64_t until);
    std::int64_t unsure_until(const Key& owner) const;
    // Whoever led before may have left some on their way for `grace` seconds more.
    void start_over(std::int64_t now, std::int64_t grace);
    // When a list has to have been asked for, at the earliest, to show all that nothing may refer to. `now`
    // is in seconds since 1970.
    Deadline fresh_from(const Key& owner, std::int64_t now) const;

    bool synced() const { return synced_; }

    void replaced(std::vector<kube::Json> objects, const std::vector<std::string>& gone) override;
    void applied(kube::Json object) override;
    void removed(const std::string& key, kube::Json last_state) override;
    void failed(const Error& error, std::chrono::milliseconds wait) override;

private:
    void changed(const std::string& key, const std::string& version);

    std::function<void(const Key&)> wake_;
    telemetry::OperatorMetrics& metrics_;
    telemetry::Log& log_;
    std::map<std::string, std::map<Key, std::string>> expected_;  // by "namespace/name": owner → version
    std::map<Key, std::set<std::string>> of_;
    std::set<std::string> known_;
    std::set<Key> swept_;
    std::map<Key, std::int64_t> unsure_;
    std::int64_t sure_from_ = 0;
    std::int64_t spread_ = 0;
    std::map<Key, Deadline> suspect_;
    Deadline started_over_{};
    bool synced_ = false;
};

}  // namespace keyshepherd::controller
