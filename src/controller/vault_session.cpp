#include "vault_session.hpp"

#include <keyshepherd/core/server_address.hpp>
#include <keyshepherd/kube/secret.hpp>
#include <keyshepherd/reconcile/vault_object.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/crypto.h>

namespace keyshepherd::controller {

namespace {

const kube::Resource service_accounts{"", "v1", "serviceaccounts", true};

// The ServiceAccount or the Secret that a VaultConnection logs in with.
kube::ObjectRef login_ref(const std::string& ns, const resources::Json& spec) {
    const resources::Json& auth = spec.at("auth");
    for (const char* method : {"kubernetes", "jwt"})
        if (const auto at = auth.find(method); at != auth.end())
            return {service_accounts, ns, at->at("serviceAccountName").get<std::string>()};
    const auto role = auth.find("appRole");
    const resources::Json& login = role != auth.end() ? *role : auth.at("token");
    return {kube::secrets, ns, login.at("secretName").get<std::string>()};
}

std::string version_of(const resources::Json& object) {
    const kube::Metadata metadata = kube::metadata(object);
    return metadata.uid + " " + metadata.resource_version;
}

std::string text_of(const kube::ObjectRef& ref) {
    return fmt::format("{} {}/{}", ref.resource == kube::secrets ? "Secret" : "ServiceAccount", ref.ns,
                       ref.name);
}

}  // namespace

Task<planner::Mounts> Session::mounts(Deadline deadline) {
    constexpr std::chrono::seconds oldest{10};
    if (!mounts_at_ || net::SteadyClock::now() - *mounts_at_ > oldest) {
        const Deadline asked = net::SteadyClock::now();
        planner::Mounts read = co_await reconcile::secret_mounts(vault, deadline);
        mounts_ = std::move(read);
        mounts_at_ = asked;
    }
    co_return mounts_;
}

Task<result<SessionPtr>> Sessions::open(Key key, resources::Resource connection, Deadline deadline) {
    for (;;) {
        if (const auto at = sessions_.find(key); at != sessions_.end()) co_return at->second;
        if (!opening_.contains(key)) break;
        if (co_await opened_.wait(deadline) == net::Wake::cancelled)
            co_return fail(Errc::cancelled, "stopped");
        if (net::SteadyClock::now() >= deadline)
            co_return fail(Errc::timeout, "the login to Vault timed out");
    }
    opening_.insert(key);
    auto made = co_await make(key, std::move(connection), deadline);
    opening_.erase(key);
    if (made) sessions_.insert_or_assign(key, *made);
    opened_.notify_all();
    co_return made;
}

SessionPtr Sessions::find(const Key& key) const {
    const auto at = sessions_.find(key);
    return at == sessions_.end() ? nullptr : at->second;
}

void Sessions::forget(const Key& key, const resources::Resource& connection) {
    const auto at = sessions_.find(key);
    if (at == sessions_.end()) return;
    // A connection that is being deleted counts as another generation, but its resources still need the
    // login.
    const bool same = at->second->generation == connection.generation || !connection.deletion_time.empty();
    if (at->second->uid != connection.uid || !same || at->second->vault.login_refused()) sessions_.erase(at);
}

void Sessions::close(const Key& key) {
    sessions_.erase(key);
}

Task<void> Sessions::sign_off(Deadline deadline) {
    const auto all = std::move(sessions_);
    sessions_.clear();
    for (const auto& [key, session] : all) co_await session->vault.sign_off(deadline);
}

Task<result<SessionPtr>> Sessions::make(Key key, resources::Resource connection, Deadline deadline) {
    const resources::Json& spec = connection.spec;
    const auto address = spec.at("address").get<std::string>();
    if (!matches_address(options_.addresses, address))
        co_return fail(Errc::disallowed,
                       fmt::format("spec.address: the operator does not allow {}; set one of {}, or add the "
                                   "address to the operator's --vault-address",
                                   address, fmt::join(options_.addresses, ", ")));
    KEYSHEPHERD_CO_TRY(net::Origin origin, net::Origin::parse(address));
    KEYSHEPHERD_CO_TRY(resources::Json object, co_await login_object(login_ref(key.ns, spec), deadline));
    const std::string login_version = version_of(object);
    kube::wipe(object);
    auto how = co_await login(key, connection, deadline);
    if (!how) co_return std::unexpected(how.error());
    net::ClientTls tls;
    tls.ca = spec.value("ca", "");
    tls.server_name = spec.value("tlsServerName", "");
    vault::Options options;
    options.vault_namespace = spec.value("vaultNamespace", "");
    options.requests_per_second = options_.requests_per_second;
    options.before_login = [this, key](const vault::Health& health) {
        return options_.may_log_in(key, health);
    };
    vault::Counters counters;
    counters.token_lost = [this, key] { options_.token_lost(key); };
    counters.request = [this](std::string_view operation, std::string_view code) {
        metrics_.vault_request(operation, code);
    };
    counters.login = [this](bool succeeded) { metrics_.vault_login(succeeded); };
    auto session = std::make_shared<Session>(context_, std::move(origin), std::move(tls), std::move(*how),
                                             std::move(options), std::move(counters));
    session->login_version = login_version;
    session->uid = connection.uid;
    session->generation = connection.generation;
    co_return session;
}

Task<result<vault::Login>> Sessions::login(Key key, resources::Resource connection, Deadline deadline) {
    const resources::Json& auth = connection.spec.at("auth");
    const kube::ObjectRef ref = login_ref(key.ns, connection.spec);
    for (const char* method : {"kubernetes", "jwt"})
        if (const auto at = auth.find(method); at != auth.end())
            co_return vault::JwtLogin{at->value("mount", method), at->at("role").get<std::string>(),
                                      [this, ref](Deadline until) { return account_token(ref, until); }};
    if (const auto at = auth.find("appRole"); at != auth.end()) {
        KEYSHEPHERD_CO_TRY(std::string role_id, co_await secret(ref, "role_id", deadline));
        co_return vault::AppRoleLogin{
            at->value("mount", "approle"), std::move(role_id),
            [this, ref](Deadline until) { return secret(ref, "secret_id", until); }};
    }
    KEYSHEPHERD_CO_TRY(std::string text,
                       co_await secret(ref, auth.at("token").value("key", "token"), deadline));
    co_return vault::TokenLogin{std::move(text)};
}

// Reads what is logged in with, and its label. Who may write such an object in the connection's namespace
// has the operator's rights in Vault; the label keeps the operator from objects that were not made for it.
Task<result<resources::Json>> Sessions::login_object(kube::ObjectRef ref, Deadline deadline) {
    auto object = co_await kube_.get(ref, deadline);
    if (!object) {
        if (object.error().code == Errc::not_found)
            co_return fail(Errc::unauthorized, fmt::format("{} does not exist", text_of(ref)));
        if (object.error().code == Errc::forbidden)
            object.error().message += fmt::format(
                "; to grant the permission, apply the output of `keyshepherd generate rbac {}`",
                ref.resource == kube::secrets ? "--namespaces " + ref.ns : "--service-account " + ref.name);
        co_return std::unexpected(object.error());
    }
    const auto labels = kube::labels(*object);
    const auto at = labels.find(resources::login_label);
    if (at != labels.end() && at->second == "true") co_return object;
    kube::wipe(*object);
    co_return fail(
        Errc::unlabeled,
        fmt::format("{0} does not have the label {1}: \"true\". To allow the operator to log in with it, "
                    "run: kubectl label {2} {3} -n {4} {1}=true --overwrite",
                    text_of(ref), resources::login_label,
                    ref.resource == kube::secrets ? "secret" : "serviceaccount", ref.name, ref.ns));
}

Task<result<void>> Sessions::check_login(Key key, resources::Resource connection, Deadline deadline) {
    const kube::ObjectRef ref = login_ref(key.ns, connection.spec);
    auto object = co_await login_object(ref, deadline);
    if (object) {
        const std::string version = version_of(*object);
        kube::wipe(*object);
        const auto held = sessions_.find(key);
        if (held == sessions_.end() || held->second->login_version == version) co_return result<void>();
        // A ServiceAccount has no credentials in it: while its logins succeed, its version means nothing.
        if (ref.resource == kube::secrets || held->second->vault.login_refused())
            sessions_.erase(held);
        else
            held->second->login_version = version;
        co_return result<void>();
    }
    if (object.error().code != Errc::unlabeled) co_return result<void>();
    if (const auto held = sessions_.extract(key)) co_await held.mapped()->vault.sign_off(deadline);
    co_return std::unexpected(object.error());
}

Task<result<std::string>> Sessions::account_token(kube::ObjectRef account, Deadline deadline) {
    KEYSHEPHERD_CO_TRY(const resources::Json object, co_await login_object(account, deadline));
    co_return co_await kube_.service_account_token(account.ns, account.name, options_.audience,
                                                   std::chrono::seconds(600), deadline);
}

Task<result<std::string>> Sessions::secret(kube::ObjectRef ref, std::string field, Deadline deadline) {
    KEYSHEPHERD_CO_TRY(resources::Json object, co_await login_object(ref, deadline));
    std::string value = kube::secret_value(object, field);
    kube::wipe(object);
    while (!value.empty() && (value.back() == '\n' || value.back() == '\r')) value.pop_back();
    if (value.empty())
        co_return fail(Errc::unauthorized,
                       fmt::format("{} has no key {}; add the key to the Secret, or correct spec.auth",
                                   text_of(ref), field));
    co_return value;
}

}  // namespace keyshepherd::controller
