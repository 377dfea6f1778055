#include "given_resources.hpp"

#include <keyshepherd/kube/client.hpp>

#include <boost/asio/co_spawn.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <exception>
#include <iostream>

namespace keyshepherd::app {

namespace {

namespace asio = boost::asio;

void add_object(const resources::Json& object, ResourceFiles& found) {
    resources::Reading read = resources::read(object, "");
    for (const resources::Fault& fault : read.faults)
        std::cerr << fmt::format("warning: {}: {}: {}\n", read.resource.text(), fault.field, fault.message);
    if (!read.faults.empty()) return;
    if (read.resource.kind->in_vault)
        found.resources.push_back({std::move(read.resource), "cluster", true});
    else
        found.providers.push_back(std::move(read.resource));
}

net::Task<result<void>> list_all(kube::Client& client, std::chrono::milliseconds timeout, Providers providers,
                                 ResourceFiles& found) {
    for (const resources::Kind& kind : resources::kinds()) {
        if (!kind.in_vault && providers == Providers::left_out) continue;
        const kube::Resource resource{std::string(resources::group), std::string(resources::version),
                                      std::string(kind.plural)};
        kube::ListOptions options;
        do {
            const net::Deadline deadline = net::SteadyClock::now() + timeout;
            KEYSHEPHERD_CO_TRY(kube::Page page, co_await client.list(resource, "", options, deadline));
            for (const resources::Json& object : page.items) add_object(object, found);
            options.continue_token = page.continue_token;
        } while (!options.continue_token.empty());
    }
    co_return result<void>();
}

result<ResourceFiles> read_cluster(const Source& source, std::chrono::milliseconds timeout) {
    KEYSHEPHERD_TRY(kube::Config config, kube::load(source.kubeconfig));
    asio::io_context context;
    kube::Client client(context, std::move(config));
    ResourceFiles found;
    result<void> ended;
    asio::co_spawn(context, list_all(client, timeout, source.providers, found),
                   [&](const std::exception_ptr& e, result<void> r) {
                       if (e) std::rethrow_exception(e);
                       ended = std::move(r);
                       context.stop();
                   });
    context.run();
    if (!ended) return std::unexpected(ended.error());
    return found;
}

result<ResourceFiles> read_files(const Source& source) {
    KEYSHEPHERD_TRY(const auto inputs, read_inputs(source.files, source.recursive));
    return read_resources(inputs, source.default_namespace, source.providers);
}

}  // namespace

ConnectionName connection_of(const resources::Resource& resource) {
    const resources::Json& ref = resource.spec.at("connectionRef");
    return {ref.value("namespace", resource.ns), ref.at("name").get<std::string>()};
}

bool is_secret_id(const resources::Resource& resource) {
    return resource.kind->name == "VaultSecretID";
}

const resources::Resource* role_of(const resources::Resource& secret_id, const GivenResources& given) {
    const auto name = secret_id.spec.at("appRoleRef").at("name").get<std::string>();
    const auto is_it = [&](const resources::Resource& each) {
        return each.kind->name == "VaultAppRole" && each.ns == secret_id.ns && each.name == name;
    };
    if (const auto at = std::ranges::find_if(given.resources, is_it, &FileResource::resource);
        at != given.resources.end())
        return &at->resource;
    const auto at = std::ranges::find_if(given.leaving, is_it);
    return at == given.leaving.end() ? nullptr : &*at;
}

result<GivenResources> read_given(const Source& source, double timeout_seconds) {
    const std::chrono::milliseconds timeout(static_cast<long>(timeout_seconds * 1000));
    KEYSHEPHERD_TRY(ResourceFiles read,
                    source.from_cluster ? read_cluster(source, timeout) : read_files(source));
    if (!read.errors.empty())
        return fail(Errc::invalid, fmt::format("{}", fmt::join(read.errors, "\nerror: ")));
    if (read.resources.empty() && read.providers.empty())
        return fail(Errc::invalid,
                    fmt::format("no custom resource of keyshepherd.dev in what was given ({} other objects)",
                                read.others));
    GivenResources given;
    // Mounts before policies before roles: the order of the table of kinds.
    for (const resources::Kind& kind : resources::kinds())
        for (FileResource& resource : read.resources) {
            if (resource.resource.kind != &kind) continue;
            if (kind.name == "VaultConnection")
                given.connections.emplace(ConnectionName(resource.resource.ns, resource.resource.name),
                                          std::move(resource.resource));
            else if (!source.from_cluster || resource.resource.deletion_time.empty())
                given.resources.push_back(std::move(resource));
            else
                given.leaving.push_back(std::move(resource.resource));
        }
    // The operator does nothing for one that has no connection, or is being deleted.
    for (resources::Resource& provider : read.providers)
        if (provider.spec.contains("connectionRef") &&
            (!source.from_cluster || provider.deletion_time.empty()))
            given.providers.push_back(std::move(provider));
    return given;
}

}  // namespace keyshepherd::app
