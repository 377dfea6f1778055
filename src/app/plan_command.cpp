// keyshepherd plan and apply: custom resources out of files against a live Vault, by the operator's own
// planner.
#include "commands.hpp"
#include "environment_flag.hpp"
#include "given_resources.hpp"
#include "operator_policy_text.hpp"
#include "output.hpp"
#include "plan_report.hpp"
#include "probe_host_flag.hpp"
#include "secret_id_files.hpp"

#include <keyshepherd/net/wiped.hpp>
#include <keyshepherd/planner/clock_skew.hpp>
#include <keyshepherd/planner/vault_rules.hpp>
#include <keyshepherd/reconcile/vault_object.hpp>

#include <boost/asio/co_spawn.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <set>

namespace keyshepherd::app {

namespace {

namespace asio = boost::asio;

struct VaultFlags {
    Source source;
    bool policy_for_operator = false;
    std::vector<std::string> probe_hosts;
    std::string address;
    std::string token_file;
    std::string ca_file;
    std::string tls_server_name;
    std::string vault_namespace;
    SecretFiles secret_files;
    std::string output = "text";
    double timeout_seconds = 60;
};

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string() : std::string(value);
}

// What Vault's own command line reads, below our flags.
void from_vaults_environment(VaultFlags& flags) {
    const auto fall_back = [](std::string& to, std::initializer_list<const char*> names) {
        for (const char* name : names)
            if (to.empty()) to = environment(name);
    };
    fall_back(flags.address, {"BAO_ADDR", "VAULT_ADDR"});
    fall_back(flags.ca_file, {"BAO_CACERT", "VAULT_CACERT"});
    fall_back(flags.vault_namespace, {"BAO_NAMESPACE", "VAULT_NAMESPACE"});
    fall_back(flags.tls_server_name, {"BAO_TLS_SERVER_NAME", "VAULT_TLS_SERVER_NAME"});
}

result<vault::Login> login_of(const VaultFlags& flags) {
    if (!flags.token_file.empty()) return vault::TokenFileLogin{flags.token_file};
    for (const char* name : {"BAO_TOKEN", "VAULT_TOKEN"})
        if (std::string token = environment(name); !token.empty()) return vault::TokenLogin{std::move(token)};
    if (const std::string home = environment("HOME");
        !home.empty() && access((home + "/.vault-token").c_str(), R_OK) == 0)
        return vault::TokenFileLogin{home + "/.vault-token"};
    return fail(Errc::invalid,
                "no Vault token: set --vault-token-file or VAULT_TOKEN, or create ~/.vault-token");
}

struct Session {
    asio::io_context context;
    std::unique_ptr<net::Client> http;
    std::unique_ptr<vault::Client> vault;
};

result<std::unique_ptr<Session>> connect(const VaultFlags& flags) {
    if (flags.address.empty())
        return fail(Errc::invalid,
                    "no Vault address: set --vault-address or VAULT_ADDR. The address in a VaultConnection "
                    "is not used, so that files cannot choose where your token is sent");
    KEYSHEPHERD_TRY(net::Origin origin, net::Origin::parse(flags.address));
    net::ClientTls tls{.server_name = flags.tls_server_name};
    if (!flags.ca_file.empty()) {
        KEYSHEPHERD_TRY(const auto files, read_inputs({flags.ca_file}, false));
        for (const InputFile& file : files) tls.ca += file.text;
    }
    KEYSHEPHERD_TRY(vault::Login login, login_of(flags));
    auto session = std::make_unique<Session>();
    session->http = std::make_unique<net::Client>(session->context, std::move(origin), std::move(tls));
    session->vault = std::make_unique<vault::Client>(
        session->context, *session->http, std::move(login),
        vault::Options{
            .vault_namespace = flags.vault_namespace, .requests_per_second = 1'000, .wait_for_quota = true});
    return session;
}

// One run over all resources. `apply` decides whether the plans are carried out.
class Run {
public:
    Run(const VaultFlags& flags, GivenResources given, bool apply)
        : flags_(flags), given_(std::move(given)), apply_(apply) {}

    // The rows in the order of the work; an Error means that nothing was looked at.
    result<std::vector<ReportRow>> run() {
        KEYSHEPHERD_TRY(const auto session, connect(flags_));
        result<void> ended;
        std::exception_ptr thrown;
        asio::co_spawn(session->context, go(*session->vault),
                       [&](const std::exception_ptr& e, result<void> r) {
                           thrown = e;
                           ended = std::move(r);
                           session->context.stop();  // kept connections would hold it open
                       });
        session->context.run();
        if (thrown) std::rethrow_exception(thrown);
        if (!ended) return std::unexpected(ended.error());
        return std::move(rows_);
    }

private:
    std::chrono::milliseconds timeout() const {
        return std::chrono::milliseconds(static_cast<long>(flags_.timeout_seconds * 1000));
    }
    net::Deadline deadline() const { return net::SteadyClock::now() + timeout(); }

    net::Task<result<void>> go(vault::Client& vault) {
        const auto policies = co_await reconcile::own_policies(vault, deadline());
        if (!policies) co_return std::unexpected(policies.error());
        for (const std::string& policy : *policies) reserved_.insert(policy);
        if (!given_.without_grants &&
            std::ranges::any_of(given_.resources, planner::needs_mounts, &FileResource::resource))
            mounts_ = co_await reconcile::secret_mounts(vault, deadline());
        if (std::ranges::any_of(given_.resources, is_secret_id, &FileResource::resource)) {
            // For its clock; without it the Date of the answers has to do.
            co_await vault.health(deadline());
            if (const std::string skew = planner::skew_text({.vault = vault.clock_lead(), .api_server = {}});
                !skew.empty())
                print_warning("the clock of this machine is " + skew +
                              ". The times in this output follow Vault's clock");
        }
        std::size_t elsewhere = 0;
        std::size_t secret_ids = 0;
        const net::Executor executor = co_await asio::this_coro::executor;
        SecretIdVault secret_id_vault{.client = vault,
                                      .name = reconcile::vault_name(flags_.address, flags_.vault_namespace),
                                      .timeout = timeout(),
                                      .secret_ids = reconcile::SecretIdIndex(executor)};
        for (const FileResource& file : given_.resources) {
            if (flags_.source.from_cluster && is_secret_id(file.resource)) {
                ++secret_ids;
                continue;
            }
            if (flags_.source.from_cluster && !file.resource.claim.empty() && !is_here(file.resource)) {
                ++elsewhere;
                continue;
            }
            if (isatty(STDERR_FILENO) == 1 && given_.resources.size() > 20)
                std::cerr << fmt::format("\r{}/{} ", rows_.size() + 1, given_.resources.size()) << std::flush;
            ReportRow row;
            if (is_secret_id(file.resource))
                row = co_await secret_id(secret_id_vault, file);
            else
                row = co_await one(vault, file);
            row_of_.emplace(row.resource, rows_.size());
            rows_.push_back(std::move(row));
        }
        if (isatty(STDERR_FILENO) == 1 && given_.resources.size() > 20) std::cerr << "\r          \r";
        if (elsewhere > 0)
            print_warning(fmt::format("skipped resources that belong to a Vault other than {1}: {0}",
                                      elsewhere, flags_.address));
        if (secret_ids > 0)
            print_warning(
                fmt::format("skipped VaultSecretIDs: {}. plan and apply do not read the Secrets in the "
                            "cluster. For their status, run: kubectl get vaultsecretid -A",
                            secret_ids));
        co_return result<void>();
    }

    // Whether the resource was made in the Vault that is asked.
    bool is_here(const resources::Resource& resource) const {
        return resource.claim ==
               reconcile::vault_name(flags_.address, flags_.vault_namespace) + " " + planner::claim(resource);
    }

    static void refuse(ReportRow& row, std::string reason, std::string message) {
        row.plan = {
            .verdict = planner::Verdict::refused, .reason = std::move(reason), .message = std::move(message)};
    }

    net::Task<ReportRow> one(vault::Client& vault, const FileResource& file) {
        const resources::Resource& resource = file.resource;
        ReportRow row{.resource = resource.text(), .claim = planner::claim(resource), .place = file.place};
        if (const auto [first, fresh] = claims_.try_emplace(row.claim, row.resource); !fresh) {
            refuse(row, "Conflict", fmt::format("{1} already manages {0}", row.claim, first->second));
            co_return row;
        }
        // A file that says nothing of adoption means to make Vault equal: there is nobody to ask who made it.
        planner::Ownership ownership{
            .owner = flags_.source.from_cluster ? !resource.claim.empty() : !file.adoption_is_given,
            .role_id = resource.role_id};
        if (flags_.source.from_cluster && apply_ && !ownership.owner) {
            refuse(row, "NotClaimed",
                   "the operator has not reconciled this resource yet. With --from-cluster, apply changes "
                   "only objects that the operator has created or adopted");
            co_return row;
        }
        const Permission permitted = permission(resource, given_, reserved_, mounts_);
        ownership.may_adopt = permitted.may_adopt;
        if (!permitted.faults.empty()) {
            refuse(row, "NotGranted", planner::text_of(permitted.faults));
            co_return row;
        }
        auto observed = co_await reconcile::observe(vault, resource, deadline());
        if (!observed && observed.error().code == Errc::not_found && !apply_ && will_be_mounted(resource))
            observed = planner::Observation();
        if (!observed) {
            row.error = observed.error().message;
            co_return row;
        }
        row.plan = planner::plan(resource, *observed, ownership);
        if (resource.kind->id == resources::KindId::vault_mount &&
            row.plan.verdict == planner::Verdict::create)
            new_mounts_.push_back(row.claim);
        if (apply_ && !row.plan.requests.empty()) {
            auto done = co_await reconcile::act(vault, row.plan, deadline());
            if (!done)
                row.error = done.error().message;
            else
                std::ranges::move(*done, std::back_inserter(row.warnings));
        }
        // Mounts come before policies: a later rule may depend on this one, also where it is only planned.
        if (resource.kind->id == resources::KindId::vault_mount &&
            resource.spec.value("engine", "") == "Secret" && row.error.empty() &&
            row.plan.verdict != planner::Verdict::refused)
            mounts_.paths.insert(resource.spec.value("path", ""));
        co_return row;
    }

    // Comes behind its role: the order of the table of kinds.
    net::Task<ReportRow> secret_id(SecretIdVault& vault, const FileResource& file) {
        const resources::Resource& resource = file.resource;
        const std::string role_name =
            fmt::format("VaultAppRole {}/{}", resource.ns, resource.spec.at("appRoleRef").value("name", ""));
        ReportRow row{.resource = resource.text(), .claim = "secret-id of " + role_name, .place = file.place};
        const resources::Resource* role = role_of(resource, given_);
        if (role == nullptr) {
            refuse(
                row, "RoleNotFound",
                fmt::format("spec.appRoleRef.name: {} is not in the given files; add its file", role_name));
            co_return row;
        }
        row.claim = planner::claim(*role) + "/secret-id";
        if (flags_.secret_files.folder.empty()) {
            refuse(row, "NoSecretsDir",
                   "set --secrets-dir, the directory for <namespace>/<secretName>/role_id and secret_id");
            co_return row;
        }
        const std::string folder = resource.ns + "/" + resource.spec.value("secretName", "");
        if (const auto [first, fresh] = claims_.try_emplace("files " + folder, row.resource); !fresh) {
            refuse(row, "Conflict",
                   fmt::format("spec.secretName: {1} already uses the directory {0}; set another name",
                               folder, first->second));
            co_return row;
        }
        if (resource.paused) {
            row.warnings.push_back("skipped, because keyshepherd.dev/paused is \"true\"");
            co_return row;
        }
        if (role->cut_off) {
            refuse(
                row, "CutOff",
                role_name +
                    " is cut off; to issue secret-ids again, remove its annotation keyshepherd.dev/cut-off");
            co_return row;
        }
        if (const auto faults = planner::secret_id_faults(resource, *role); !faults.empty()) {
            refuse(row, "VaultRefuses", planner::text_of(faults));
            co_return row;
        }
        const ReportRow& of_role = rows_[row_of_.at(role->text())];
        if (!of_role.error.empty() || of_role.plan.verdict == planner::Verdict::refused) {
            refuse(row, "RoleNotReady", role_name + " failed or was refused; see its message");
            co_return row;
        }
        if (!resource.spec.value("rolloutRestartTargets", planner::Json::array()).empty())
            row.warnings.push_back(
                "spec.rolloutRestartTargets: apply cannot restart workloads. It destroys a replaced "
                "secret-id after spec.overlap, even if a workload still uses it");
        SecretIdFiles files(vault, flags_.secret_files, resource,
                            {.path = planner::claim(*role),
                             .role_id = role->spec.value("roleID", ""),
                             .is_there = apply_ || of_role.plan.verdict != planner::Verdict::create,
                             .revoke_tokens = role->spec.value("revokeTokens", false)},
                            apply_);
        auto planned = co_await files.run();
        if (!planned)
            row.error = planned.error().message;
        else
            row.plan = *std::move(planned);
        co_return row;
    }

    // In a plan the mount of a new role may be no more than planned itself.
    bool will_be_mounted(const resources::Resource& role) const {
        return std::ranges::find(new_mounts_, "sys/auth/" + role.spec.value("mount", "")) !=
               new_mounts_.end();
    }

    const VaultFlags& flags_;
    GivenResources given_;
    bool apply_;
    std::set<std::string> reserved_;
    planner::Mounts mounts_;
    std::map<std::string, std::string> claims_;
    std::vector<std::string> new_mounts_;
    std::vector<ReportRow> rows_;
    std::map<std::string, std::size_t> row_of_;  // by the resource
};

// Names the flag that mends a certificate that was not accepted.
Error with_tls_flag(Error error) {
    if (error.detail == Detail::unknown_ca)
        error.message += "; set --vault-ca-file or VAULT_CACERT to a PEM file with the CA that signed it";
    if (error.detail == Detail::other_name)
        error.message +=
            "; set --vault-tls-server-name or VAULT_TLS_SERVER_NAME to a name in the certificate";
    return error;
}

int failed(const Error& error) {
    print_error(error.message);
    return 1;
}

int print_policy(const GivenResources& given, const std::vector<std::string>& probe_hosts) {
    const OperatorPolicyText made = operator_policy_text(given, probe_hosts);
    for (const std::string& warning : made.warnings) print_warning(warning);
    return print_document(made.text) ? 0 : 1;
}

int finish(VaultFlags flags, bool apply) {
    net::forbid_core_files();  // the token is in this memory, and secret-ids are
    from_vaults_environment(flags);
    if (flags.source.files.empty() && !flags.source.from_cluster) {
        print_error("no resources: set -f FILE or --from-cluster");
        return 1;
    }
    if (flags.source.without_grants)
        print_warning(
            "--without-grants: the grants of VaultConnections are not checked. The resources may do "
            "everything that the token allows, except change reserved policies and mounts");
    if (flags.policy_for_operator) flags.source.providers = Providers::taken;
    auto given = read_given(flags.source, flags.timeout_seconds);
    if (!given) return failed(given.error());
    for (const std::string& error : given->errors) print_error(error);
    if (!given->errors.empty()) return 1;
    if (flags.policy_for_operator) return print_policy(*given, flags.probe_hosts);
    if (given->checked_providers > 0)
        print_warning(
            fmt::format("providers have no object in Vault, so only their fields were checked (AIProviders "
                        "and ClusterAIProviders: {})",
                        given->checked_providers));
    result<std::vector<ReportRow>> rows;
    if (!given->resources.empty()) rows = Run(flags, *std::move(given), apply).run();
    if (!rows) return failed(with_tls_flag(rows.error()));
    const bool colour = isatty(STDOUT_FILENO) == 1 && environment("NO_COLOR").empty();
    const bool printed =
        print_report(flags.output == "json" ? report_json(*rows, apply) : report_text(*rows, apply, colour));
    for (const ReportRow& row : *rows)
        for (const std::string& warning : row.warnings)
            print_warning(fmt::format("{}: {}", row.resource, warning));
    if (!printed) return 1;
    const Tally tally = count(*rows);
    if (tally.failed + tally.refused > 0) return 1;
    return !apply && tally.create + tally.update > 0 ? 2 : 0;
}

CLI::App* add(CLI::App& app, const char* name, const char* doc, VaultFlags& flags) {
    CLI::App* command = app.add_subcommand(name, doc);
    Source& source = flags.source;
    auto* files =
        command
            ->add_option("-f,--filename", source.files,
                         "File, directory (*.yaml, *.yml, *.json) or - for standard input (repeatable)")
            ->type_name("FILE");
    auto* from_cluster = command
                             ->add_flag("--from-cluster", source.from_cluster,
                                        "Read the resources and the VaultConnections with their grants from "
                                        "the API server instead of files")
                             ->excludes(files);
    auto* connections = command
                            ->add_option("--connections", source.connection_files,
                                         "File or directory with the VaultConnections whose grants apply "
                                         "(repeatable). VaultConnections in other files are refused")
                            ->type_name("FILE")
                            ->excludes(from_cluster);
    command
        ->add_flag("--without-grants", source.without_grants,
                   "Do not check grants: allow the resources everything that the token allows, except "
                   "reserved policies and mounts")
        ->excludes(connections)
        ->excludes(from_cluster);
    add_environment_flag(*command, "kubeconfig", source.kubeconfig,
                         "Kubeconfig file for --from-cluster. Default: $KUBECONFIG, ~/.kube/config, or the "
                         "pod's ServiceAccount");
    command->add_flag("-R,--recursive", source.recursive, "Read subdirectories, too");
    command->add_flag("--skip-unreadable", source.skip_unreadable, skip_unreadable_help)
        ->excludes(from_cluster);
    command
        ->add_option("-n,--namespace", source.default_namespace,
                     "Namespace of resources without metadata.namespace. If set, resources in other "
                     "namespaces are refused, so that the grants for this namespace apply to all of them")
        ->envname(environment_name("namespace"))
        ->capture_default_str();
    add_environment_flag(*command, "vault-address", flags.address,
                         "Address of Vault or OpenBao. Also read from VAULT_ADDR, BAO_ADDR");
    add_environment_flag(*command, "vault-token-file", flags.token_file,
                         "File that contains the Vault token. A token is also read from VAULT_TOKEN, "
                         "BAO_TOKEN, ~/.vault-token");
    add_environment_flag(*command, "vault-ca-file", flags.ca_file,
                         "PEM file of the CA to trust. Also read from VAULT_CACERT, BAO_CACERT");
    add_environment_flag(*command, "vault-tls-server-name", flags.tls_server_name,
                         "Server name to verify in Vault's certificate. Default: the host of the address");
    add_environment_flag(*command, "vault-namespace", flags.vault_namespace,
                         "Vault namespace. Also read from VAULT_NAMESPACE, BAO_NAMESPACE");
    add_environment_flag(*command, "secrets-dir", flags.secret_files.folder,
                         "Directory for the files of VaultSecretIDs: <namespace>/<secretName>/role_id and "
                         "secret_id, mode 0600. `apply` creates it and its missing parents");
    add_environment_flag(
        *command, "owner", flags.secret_files.owner,
        "Name of this installation, recorded in the metadata of its secret-ids. Installations with the same "
        "name must share --secrets-dir; otherwise each destroys the secret-ids of the other")
        ->check(CLI::Validator(
            [](const std::string& name) {
                return !name.empty() && name.size() <= 63 &&
                               name.find_first_not_of(
                                   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "0123456789._-") == std::string::npos
                           ? std::string()
                           : std::string("must consist of 1 to 63 letters, digits, '.', '_' and '-'");
            },
            "NAME"));
    command->add_option("-o,--output", flags.output, "Output format: text or json")
        ->check(CLI::IsMember({"text", "json"}))
        ->capture_default_str();
    command->add_option("--timeout-seconds", flags.timeout_seconds, "Timeout of each request, in seconds")
        ->check(CLI::Range(0.05, 3'600.0))
        ->capture_default_str();
    return command;
}

}  // namespace

void add_plan_command(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<VaultFlags>();
    CLI::App* command =
        add(app, "plan",
            "Compare the custom resources in files with Vault, field by field, without changing "
            "anything\n\nExit codes: 0: no differences; 2: differences; 1: an error, or a refused resource.",
            *flags);
    command->add_flag(
        "--policy-for-operator", flags->policy_for_operator,
        "Print the minimal Vault policy that the operator needs for the resources, without contacting Vault");
    add_probe_host_flag(*command, flags->probe_hosts,
                        "For --policy-for-operator: the --probe-host of the operator (repeatable). Without "
                        "it, the policy does not allow the operator to read keys for probes");
    command->callback([flags, command, &exit_code] {
        flags->source.one_namespace = command->count("--namespace") > 0;
        exit_code = finish(*flags, false);
    });
}

void add_apply_command(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<VaultFlags>();
    CLI::App* command =
        add(app, "apply",
            "Apply the custom resources in files to Vault, once and without a cluster\n\nIt deletes nothing "
            "except replaced secret-ids. If a resource does not set adoptionPolicy, it adopts the existing "
            "object in Vault. It rotates a secret-id when the rotation is due, and destroys the replaced "
            "secret-id in the first run after spec.overlap. Therefore run it more often than the shortest "
            "overlap and rotation period.",
            *flags);
    command->callback([flags, command, &exit_code] {
        flags->source.one_namespace = command->count("--namespace") > 0;
        exit_code = finish(*flags, true);
    });
}

}  // namespace keyshepherd::app
