#include "leftovers.hpp"

#include <keyshepherd/core/base64.hpp>
#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/kube/secret.hpp>

#include <fmt/format.h>

namespace keyshepherd::controller {

namespace {

using resources::Json;

}  // namespace

Json record_of(const Leftover& leftover) {
    const resources::Resource& resource = leftover.resource;
    if (resource.kind == nullptr || resource.kind->id == resources::KindId::vault_mount ||
        leftover.path.empty())
        return nullptr;
    Json record = {
        {"vault", leftover.vault},  {"path", leftover.path},      {"kind", resource.kind->name},
        {"namespace", resource.ns}, {"name", resource.name},      {"uid", resource.uid},
        {"spec", resource.spec},    {"roleID", resource.role_id}, {"revokeTokens", leftover.revoke_tokens}};
    return record.dump().size() > Leftovers::longest_record ? Json() : record;
}

std::optional<Leftover> leftover_of(const Json& record) {
    Leftover leftover;
    leftover.vault = text_at(record, "vault");
    leftover.path = text_at(record, "path");
    resources::Resource& resource = leftover.resource;
    resource.kind = resources::find_kind(text_at(record, "kind"));
    resource.ns = text_at(record, "namespace");
    resource.name = text_at(record, "name");
    resource.uid = text_at(record, "uid");
    resource.role_id = text_at(record, "roleID");
    if (resource.kind == nullptr || resource.uid.empty() || leftover.path.empty() || !record.contains("spec"))
        return std::nullopt;
    resource.spec = record.at("spec");
    leftover.revoke_tokens = record.value("revokeTokens", false);
    return leftover;
}

bool is_within_share(std::size_t record, std::size_t of_namespace, std::size_t total) {
    return total + record <= Leftovers::budget && of_namespace + record <= Leftovers::budget - total - record;
}

kube::Task<result<void>> Leftovers::open(kube::Client& kube, std::string ns, const ClaimSigner& signer,
                                         kube::Deadline deadline) {
    ns_ = ns;
    signer_ = &signer;
    auto secret = co_await kube.get({kube::secrets, ns, secret_name}, deadline);
    all_.clear();
    exists_ = secret.has_value();
    if (!secret && secret.error().code == Errc::not_found) co_return result<void>();
    if (!secret) co_return std::unexpected(secret.error());
    const Json data = secret->value("data", Json::object());
    for (const auto& [uid, unused] : data.items()) {
        const std::string value = kube::secret_value(*secret, uid);
        const Json kept = Json::parse(value, nullptr, false);
        const Json record = kept.is_object() ? kept.value("record", Json()) : Json();
        auto leftover = leftover_of(record);
        if (leftover && leftover->resource.uid == uid && signer.is_seal(text_at(kept, "seal"), uid, record))
            all_.emplace(uid, Kept{*std::move(leftover), value.size()});
    }
    co_return result<void>();
}

kube::Task<result<void>> Leftovers::add(kube::Client& kube, Leftover leftover, kube::Deadline deadline) {
    const Json record = record_of(leftover);
    const std::string uid = leftover.resource.uid;
    if (record.is_null() || signer_ == nullptr)
        co_return fail(Errc::invalid, "the record of objects left in Vault is not available");
    const std::string value = Json({{"record", record}, {"seal", signer_->seal(uid, record)}}).dump();
    std::size_t of_namespace = 0;
    std::size_t total = 0;
    for (const auto& [other, kept] : all_) {
        if (other == uid) continue;
        total += kept.bytes;
        if (kept.leftover.resource.ns == leftover.resource.ns) of_namespace += kept.bytes;
    }
    if (!is_within_share(value.size(), of_namespace, total))
        co_return fail(Errc::too_large,
                       "the record of objects left in Vault has no space left for the namespace; grant the "
                       "recorded objects to their namespaces, so that the operator can remove them");
    const auto written = co_await write(kube, uid, value, deadline);
    if (written) all_.insert_or_assign(uid, Kept{std::move(leftover), value.size()});
    co_return written;
}

kube::Task<result<void>> Leftovers::drop(kube::Client& kube, std::string uid, kube::Deadline deadline) {
    const auto written = co_await write(kube, uid, nullptr, deadline);
    if (written) all_.erase(uid);
    co_return written;
}

std::vector<Leftover> Leftovers::of(const std::string& vault) const {
    std::vector<Leftover> found;
    for (const auto& [uid, kept] : all_)
        if (kept.leftover.vault == vault) found.push_back(kept.leftover);
    return found;
}

kube::Task<result<void>> Leftovers::write(kube::Client& kube, std::string uid, Json value,
                                          kube::Deadline deadline) {
    if (!exists_) {
        Json made = {{"apiVersion", "v1"}, {"kind", "Secret"}, {"metadata", {{"name", secret_name}}}};
        const auto created = co_await kube.create(kube::secrets, ns_, std::move(made), deadline);
        if (!created && !kube::already_exists(created.error())) co_return std::unexpected(created.error());
        exists_ = true;
    }
    Json body = value.is_null() ? Json{{"data", {{uid, nullptr}}}}
                                : Json{{"data", {{uid, encode_base64(value.get_ref<const std::string&>())}}}};
    const auto patched =
        co_await kube.patch({kube::secrets, ns_, secret_name},
                            {.kind = kube::Patch::Kind::merge, .body = std::move(body)}, deadline);
    if (!patched && patched.error().code == Errc::not_found) exists_ = false;
    if (!patched) co_return std::unexpected(patched.error());
    co_return result<void>();
}

}  // namespace keyshepherd::controller
