// One login to Vault for every VaultConnection, shared by all workers.
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
    std::vector<std::string> addresses;  // patterns that a connection's address must match one of
    std::string audience;
    double requests_per_second = 1000;
    std::chrono::milliseconds call{10'000};
    // Whether a connection may log in to the server that says this of itself.
    std::function<result<void>(const Key& connection, const vault::Health& health)> may_log_in;
    // Vault does not know the token of a connection any more.
    std::function<void(const Key& connection)> token_lost;
};

struct Session {
    Session(boost::asio::io_context& context, net::Origin origin, net::ClientTls tls, vault::Login login,
            vault::Options options, vault::Counters counters)
        : http(context, std::move(origin), std::move(tls)),
          vault(context, http, std::move(login), std::move(options), std::move(counters)),
          snapshots(context.get_executor(), vault),
          secret_ids(context.get_executor()) {}

    // The secrets engines that are mounted, asked for again after 10 seconds or once a mount has changed.
    Task<planner::Mounts> mounts(Deadline deadline);
    void mounts_changed() { mounts_at_.reset(); }

    net::Client http;
    vault::Client vault;
    reconcile::TokenIndex tokens;
    reconcile::Snapshots snapshots;
    reconcile::SecretIdIndex secret_ids;
    const Deadline opened = net::SteadyClock::now();
    std::string login_version;  // of the ServiceAccount or Secret that it logs in with, as it was read
    std::string uid;            // of the VaultConnection as it was read
    std::int64_t generation = 0;
    bool may_read_role = true;  // as far as it is known: the role that it logged in by

private:
    planner::Mounts mounts_;
    std::optional<Deadline> mounts_at_;  // when they were read; none: they have to be read
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

    // The session of a connection, opened at the first call. The Secret that it names is read then; a token
    // is asked for with the first request. Errc::disallowed for an address that the operator does not allow,
    // Errc::unauthorized when there is nothing to log in with, Errc::unlabeled when the ServiceAccount or
    // Secret lacks resources::login_label. Every later login of the session checks the label again.
    Task<result<SessionPtr>> open(Key key, resources::Resource connection, Deadline deadline);
    // The session that is open; null: none.
    SessionPtr find(const Key& key) const;
    // Drops the session of another state of the connection, and one whose login was refused: somebody asks
    // for another attempt. Whoever uses it goes on.
    void forget(const Key& key, const resources::Resource& connection);
    void close(const Key& key);
    // Whether the ServiceAccount or Secret that a connection logs in with still has its label:
    // Errc::unlabeled when it does not. Then the session is closed and its token revoked. One with another
    // version of the object is closed too, where that may bring another outcome: the next one logs in with
    // the new credentials. Where the API server does not show the object, an open session stays: its next
    // login decides.
    Task<result<void>> check_login(Key key, resources::Resource connection, Deadline deadline);
    // Revokes every token that we were given.
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
