// One login to Vault for each VaultConnection, shared by all workers.
#pragma once

#include "store.hpp"

#include <keyshepherd/kube/client.hpp>
#include <keyshepherd/net/signal.hpp>
#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/reconcile/secret_id.hpp>
#include <keyshepherd/reconcile/snapshot.hpp>
#include <keyshepherd/reconcile/token_index.hpp>
#include <keyshepherd/telemetry/operator_metrics.hpp>
#include <keyshepherd/vault/client.hpp>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

namespace keyshepherd::controller {

using net::Deadline;
using net::Task;

struct SessionOptions {
    std::vector<std::string> addresses;  // the address of a connection must match one of these patterns
    std::string audience;
    double requests_per_second = 1000;
    std::chrono::milliseconds call{10'000};
    // Whether a connection may log in to the server with this health answer.
    std::function<result<void>(const Key& connection, const vault::Health& health)> may_log_in;
    // Called if Vault no longer knows the token of a connection.
    std::function<void(const Key& connection)> token_lost;
};

struct Session {
    Session(boost::asio::io_context& context, net::Origin origin, net::ClientTls tls, vault::Login login,
            vault::Options options, vault::Counters counters)
        : http(context, std::move(origin), std::move(tls)),
          vault(context, http, std::move(login), std::move(options), std::move(counters)),
          snapshots(context.get_executor(), vault),
          secret_ids(context.get_executor()) {}

    // The mounted secrets engines. Read again after 10 seconds, and after mounts_changed().
    Task<planner::Mounts> mounts(Deadline deadline);
    void mounts_changed() { mounts_at_.reset(); }

    net::Client http;
    vault::Client vault;
    reconcile::TokenIndex tokens;
    reconcile::Snapshots snapshots;
    reconcile::SecretIdIndex secret_ids;
    const Deadline opened = net::SteadyClock::now();
    std::string login_version;  // version of the ServiceAccount or Secret that was read for the login
    std::string uid;            // of the VaultConnection
    std::int64_t generation = 0;
    bool may_read_role = true;  // false after Vault refused to show the role of the login

private:
    planner::Mounts mounts_;
    std::optional<Deadline> mounts_at_;  // when they were read; nullopt if they must be read
};

using SessionPtr = std::shared_ptr<Session>;

class Sessions {
public:
    Sessions(boost::asio::io_context& context, kube::Client& kube, SessionOptions options,
             telemetry::OperatorMetrics& metrics)
        : context_(context),
          kube_(kube),
          options_(std::move(options)),
          metrics_(metrics),
          opened_(context.get_executor()) {}

    // The session of a connection. The first call opens it and reads its ServiceAccount or Secret; the first
    // request logs in. Errc::disallowed if the operator does not allow the address, Errc::unauthorized if the
    // ServiceAccount or Secret does not exist, Errc::unlabeled if it lacks resources::login_label. Every
    // later login of the session checks the label again.
    Task<result<SessionPtr>> open(Key key, resources::Resource connection, Deadline deadline);
    // The open session, or null.
    SessionPtr find(const Key& key) const;
    // Drops the session if the connection changed or if its login was refused, so that the next open() tries
    // again. Code that uses the session can continue.
    void forget(const Key& key, const resources::Resource& connection);
    void close(const Key& key);
    // Checks that the ServiceAccount or Secret of a connection still has its label. If not, closes the
    // session, revokes its token and returns Errc::unlabeled. Also closes the session if a new version of the
    // object could change the result of a login: the next session uses the new credentials. If the API server
    // does not return the object, an open session stays, and its next login decides.
    Task<result<void>> check_login(Key key, resources::Resource connection, Deadline deadline);
    // Revokes the tokens of all sessions.
    Task<void> sign_off(Deadline deadline);

private:
    Task<result<SessionPtr>> make(Key key, resources::Resource connection, Deadline deadline);
    Task<result<vault::Login>> login(Key key, resources::Resource connection, Deadline deadline);
    Task<result<resources::Json>> login_object(kube::ObjectRef ref, Deadline deadline);
    Task<result<std::string>> account_token(kube::ObjectRef account, Deadline deadline);
    Task<result<std::string>> secret(kube::ObjectRef ref, std::string field, Deadline deadline);

    boost::asio::io_context& context_;
    kube::Client& kube_;
    SessionOptions options_;
    telemetry::OperatorMetrics& metrics_;
    std::map<Key, SessionPtr> sessions_;
    std::set<Key> opening_;
    net::Signal opened_;
};

}  // namespace keyshepherd::controller
