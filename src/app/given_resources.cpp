#include "given_resources.hpp"

#include "output.hpp"

#include <keyshepherd/kube/client.hpp>

#include <boost/asio/co_spawn.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <map>
#include <set>

namespace keyshepherd::app {

namespace {

namespace asio = boost::asio;

void add_object(const resources::Json& object, ResourceFiles& found) {
    resources::Reading read = resources::read(object, "");
    for (const resources::Fault& fault : read.faults)
        print_warning(fmt::format("{}: {}: {}", read.resource.text(), fault.field, fault.message));
    if (!read.faults.empty()) return;
    if (read.resource.kind->in_vault)
        found.resources.push_back({std::move(read.resource), "cluster", true});
    else
        found.providers.push_back(std::move(read.resource));
}

net::Task<result<void>> list_all(kube::Client& client, std::chrono::milliseconds timeout, Providers providers,
                                 ResourceFiles& found) {
    for (const resources::Kind& kind : resources::kinds()) {
        if (!kind.in_vault && providers != Providers::taken) continue;
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

bool is_connection(const resources::Resource& resource) {
    return resource.kind->id == resources::KindId::vault_connection;
}

std::string name_of(const ConnectionName& name) {
    return fmt::format("{}/{}", name.first, name.second);
}

// A resource has the grants of its namespace: a file that may choose the namespace may choose the grants.
void refuse_other_namespaces(ResourceFiles& read, const std::string& ns) {
    const auto check = [&](const resources::Resource& resource, const std::string& place) {
        if (is_connection(resource) || (resource.kind->namespaced && resource.ns == ns)) return;
        read.errors.push_back(fmt::format(
            "{}{}: not in the namespace {} of --namespace; remove the resource, or run without --namespace",
            place, resource.text(), ns));
    };
    for (const FileResource& file : read.resources) check(file.resource, file.place + ": ");
    for (const resources::Resource& provider : read.providers) check(provider, "");
}

result<ResourceFiles> read_files(const Source& source) {
    KEYSHEPHERD_TRY(const auto inputs, read_inputs(source.files, source.recursive));
    ResourceFiles read = read_resources(inputs, source.default_namespace, source.providers,
                                        source.skip_unreadable ? Unreadable::skipped : Unreadable::refused);
    for (const std::string& warning : read.warnings) print_warning(warning);
    if (source.providers == Providers::checked) read.checked_providers = read.take_providers();
    if (source.one_namespace) refuse_other_namespaces(read, source.default_namespace);
    return read;
}

// The VaultConnections of --connections. What else is in these files is not theirs to bring.
result<ResourceFiles> read_connections(const Source& source) {
    if (source.connection_files.empty()) return ResourceFiles();
    const auto is_stdin = [](const std::string& name) { return name == "-"; };
    if (std::ranges::any_of(source.connection_files, is_stdin) && std::ranges::any_of(source.files, is_stdin))
        return fail(Errc::invalid, "-f - and --connections -: only one of them can read standard input");
    KEYSHEPHERD_TRY(const auto inputs, read_inputs(source.connection_files, source.recursive));
    ResourceFiles read = read_resources(inputs, source.default_namespace, Providers::left_out);
    std::erase_if(read.resources, [](const FileResource& file) { return !is_connection(file.resource); });
    if (read.resources.empty() && read.errors.empty())
        return fail(Errc::invalid, fmt::format("no VaultConnection in the files of --connections: {}",
                                               fmt::join(source.connection_files, ", ")));
    return read;
}

// A file of resources must not bring the grants that they are held to.
void take_connections_out(ResourceFiles& read, const std::vector<FileResource>& connections) {
    for (const FileResource& file : read.resources) {
        if (!is_connection(file.resource)) continue;
        const auto known = std::ranges::find(connections, file.resource.text(),
                                             [](const FileResource& each) { return each.resource.text(); });
        if (known == connections.end())
            read.errors.push_back(
                fmt::format("{}: {}: VaultConnections are read only from the files that --connections names, "
                            "so that a file cannot grant rights to its own resources; move this "
                            "VaultConnection to a file of its own, and pass that file to --connections",
                            file.place, file.resource.text()));
        else if (known->resource.spec != file.resource.spec)
            read.errors.push_back(
                fmt::format("{}: {}: differs from the VaultConnection of the same name in --connections, at "
                            "{}; remove it from this file",
                            file.place, file.resource.text(), known->place));
    }
    std::erase_if(read.resources, [](const FileResource& file) { return is_connection(file.resource); });
}

// A resource without known grants could ask for all that the token may do.
void check_connections(const ResourceFiles& read, const std::vector<FileResource>& connections,
                       std::vector<std::string>& errors) {
    std::set<ConnectionName> known;
    for (const FileResource& file : connections) known.emplace(file.resource.ns, file.resource.name);
    std::map<ConnectionName, std::string> missing;  // the first resource that refers to it
    const auto look = [&](const resources::Resource& resource) {
        if (const ConnectionName name = connection_of(resource); !known.contains(name))
            missing.try_emplace(name, resource.text());
    };
    for (const FileResource& file : read.resources)
        if (!is_secret_id(file.resource)) look(file.resource);
    for (const resources::Resource& provider : read.providers)
        if (provider.spec.contains("connectionRef")) look(provider);
    for (const auto& [name, resource] : missing)
        errors.push_back(
            fmt::format("{}: spec.connectionRef: VaultConnection {} is not in the files of --connections, so "
                        "its grants are unknown; add its file with --connections FILE, or set "
                        "--without-grants to allow everything that your token allows",
                        resource, name_of(name)));
}

}  // namespace

ConnectionName connection_of(const resources::Resource& resource) {
    const resources::Json& ref = resource.spec.at("connectionRef");
    return {ref.value("namespace", resource.ns), ref.at("name").get<std::string>()};
}

bool is_secret_id(const resources::Resource& resource) {
    return resource.kind->id == resources::KindId::vault_secret_id;
}

const resources::Resource* role_of(const resources::Resource& secret_id, const GivenResources& given) {
    const auto name = secret_id.spec.at("appRoleRef").at("name").get<std::string>();
    const auto is_it = [&](const resources::Resource& each) {
        return each.kind->id == resources::KindId::vault_approle && each.ns == secret_id.ns &&
               each.name == name;
    };
    if (const auto at = std::ranges::find_if(given.resources, is_it, &FileResource::resource);
        at != given.resources.end())
        return &at->resource;
    const auto at = std::ranges::find_if(given.leaving, is_it);
    return at == given.leaving.end() ? nullptr : &*at;
}

Permission permission(const resources::Resource& resource, const GivenResources& given,
                      const std::set<std::string>& reserved, const planner::Mounts& mounts) {
    if (given.without_grants) return {.faults = planner::reserved_faults(resource, reserved)};
    const ConnectionName name = connection_of(resource);
    const auto at = given.connections.find(name);
    if (at == given.connections.end())
        return {.faults = {{"spec.connectionRef",
                            fmt::format("VaultConnection {} does not exist, so its grants are unknown",
                                        name_of(name))}}};
    planner::Judgement judgement = planner::judge(resource, at->second, reserved, mounts);
    return {.faults = std::move(judgement.faults), .may_adopt = judgement.rights.adopt};
}

result<GivenResources> read_given(const Source& source, double timeout_seconds) {
    const std::chrono::milliseconds timeout(static_cast<long>(timeout_seconds * 1000));
    GivenResources given;
    given.without_grants = source.without_grants;
    KEYSHEPHERD_TRY(ResourceFiles granted, read_connections(source));
    std::vector<FileResource>& connections = granted.resources;
    KEYSHEPHERD_TRY(ResourceFiles read,
                    source.from_cluster ? read_cluster(source, timeout) : read_files(source));
    std::ranges::move(granted.errors, std::back_inserter(read.errors));
    if (!source.from_cluster) {
        take_connections_out(read, connections);
        if (read.errors.empty() && !source.without_grants) check_connections(read, connections, read.errors);
    }
    if (!read.errors.empty()) {
        given.errors = std::move(read.errors);
        return given;
    }
    given.checked_providers = read.checked_providers;
    if (read.resources.empty() && read.providers.empty() && read.checked_providers == 0)
        return fail(
            Errc::invalid,
            fmt::format("no custom resource of keyshepherd.dev in the input; it contains other objects: {}",
                        read.others));
    std::ranges::move(connections, std::back_inserter(read.resources));
    // Mounts before policies before roles: the order of the table of kinds.
    for (const resources::Kind& kind : resources::kinds())
        for (FileResource& resource : read.resources) {
            if (resource.resource.kind != &kind) continue;
            if (kind.id == resources::KindId::vault_connection)
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
