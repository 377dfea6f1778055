#include "plan.hpp"

#include "env_index.hpp"
#include "layout.hpp"
#include "limits.hpp"
#include "names.hpp"
#include "quantity.hpp"
#include "wiring_rules.hpp"

#include <keyshepherd/core/server_address.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <set>

namespace keyshepherd::inject {

namespace {

constexpr KubernetesVersion native_sidecars{
    1, 29};  // on by default; https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
constexpr KubernetesVersion env_files{1, 35};  // fileKeyRef, on by default

struct Container {
    std::string_view list;
    std::size_t index;
    std::string_view name;
    const json::value* spec;
    const json::array* env;  // nullptr: none
    EnvIndex variables;
    std::vector<std::size_t> references;  // the entries of `env` that ask for a value out of Vault
    bool selected;
};

std::string_view variable_of(const json::value& entry) {
    return json::find_text(entry, {"name"});
}

std::vector<Container> containers_of(const json::value& pod) {
    std::vector<Container> all;
    for (const std::string_view list : {"initContainers", "containers"}) {
        const json::array* elements = json::find_array(pod, {list});
        if (elements == nullptr) continue;
        all.reserve(all.size() + elements->size());
        for (std::size_t i = 0; i < elements->size(); ++i) {
            const json::value& spec = (*elements)[i];
            const json::array* env = json::find_array(spec, {"env"});
            Container& c = all.emplace_back(list, i, json::find_text(spec, {"name"}), &spec, env,
                                            EnvIndex(env), std::vector<std::size_t>(), false);
            for (std::size_t e = 0; env != nullptr && e < env->size(); ++e)
                if (is_reference(json::find_text((*env)[e], {"value"}))) c.references.push_back(e);
        }
    }
    return all;
}

// The variables that a container expands in its command, its arguments and its environment: $(NAME).
// https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
std::set<std::string_view> expansions_of(const json::value& container) {
    std::set<std::string_view> names;
    const auto take = [&](std::string_view text) {
        for (std::size_t at = text.find("$("); at != std::string_view::npos; at = text.find("$(", at + 2)) {
            std::size_t end = at + 2;
            while (end < text.size() && is_variable_character(text[end])) ++end;
            if (end < text.size() && text[end] == ')') names.insert(text.substr(at + 2, end - at - 2));
        }
    };
    for (const std::string_view list : {"command", "args"})
        if (const json::array* words = json::find_array(container, {list}))
            for (const json::value& word : *words)
                if (word.is_string()) take(word.get_string());
    if (const json::array* env = json::find_array(container, {"env"}))
        for (const json::value& entry : *env) take(json::find_text(entry, {"value"}));
    return names;
}

constexpr std::size_t shortest_template = 200;  // what a template of agent.cpp takes at least

// The folders of one volume: one for each distinct set of files, so that no container reaches a file that
// another one asked for.
class Folders {
public:
    explicit Folders(std::vector<Folder>& folders) : folders_(folders) {}

    // The name of the folder that holds just these files; it is made for the first container that asks for
    // them. "" where it would be no name of its own: a container's name has to be a DNS label that no other
    // container has.
    std::string name_for(std::string_view container, const std::vector<std::string>& variables,
                         bool extra_files) {
        std::vector<std::string> key = variables;
        std::sort(key.begin(), key.end());
        const auto [at, is_new] = by_files_.try_emplace({std::move(key), extra_files}, container);
        if (is_new) {
            if (!is_dns_label(container) || !names_.emplace(container).second) at->second.clear();
            folders_.push_back({at->second, variables, extra_files});
        }
        return at->second;
    }

private:
    std::vector<Folder>& folders_;
    std::map<std::pair<std::vector<std::string>, bool>, std::string> by_files_;
    std::set<std::string, std::less<>> names_;
};

class Decision {
public:
    Decision(const json::value& pod, const AnnotationOptions& options, const Source& source,
             const Workload& about, const Catalog& catalog, const Settings& settings, Outcome& outcome)
        : options_(options),
          source_(source),
          namespace_(about.workload_namespace),
          namespaces_(about.namespaces),
          catalog_(catalog),
          settings_(settings),
          outcome_(outcome),
          pod_(pod),
          containers_(containers_of(pod)) {}

    Plan take() && {
        select_containers();
        find_providers();
        order_variables();
        if (!check_amount()) return std::move(plan_);
        take_references();
        find_connection();
        choose_wiring();
        wire_containers();
        plan_files();
        check_size();
        plan_agent();
        check_collisions();
        return std::move(plan_);
    }

private:
    void fault(const std::string& annotation, std::string message) {
        AnnotationFault f = fault_of(options_, annotation, std::move(message));
        outcome_.refuse(source_.field(f.name), std::move(f.message));
    }
    void fault_at(const Container& c, std::string_view below, std::string message) {
        outcome_.refuse(fmt::format("spec.template.spec.{}[{}]{}", c.list, c.index, below),
                        std::move(message));
    }
    void warn(std::string message) { outcome_.warnings.push_back(std::move(message)); }

    void select(std::string_view list, const std::string& annotation,
                const std::optional<std::vector<std::string>>& names, bool all_by_default) {
        if (!names) {
            for (Container& c : containers_) c.selected |= all_by_default && c.list == list;
            return;
        }
        std::map<std::string_view, Container*> known;
        std::vector<std::string_view> in_order;
        for (Container& c : containers_)
            if (c.list == list && known.try_emplace(c.name, &c).second) in_order.push_back(c.name);
        std::string listed;
        for (const std::string& name : *names) {
            if (const auto c = known.find(name); c != known.end()) {
                c->second->selected = true;
                continue;
            }
            if (listed.empty()) listed = some_of(in_order);
            fault(annotation,
                  fmt::format("container {} not found; the {} of the template are: {}", quoted(name),
                              list == "containers" ? "containers" : "init containers", listed));
        }
    }

    void select_containers() {
        select("containers", "containers", options_.containers, true);
        select("initContainers", "init-containers", options_.init_containers, false);
    }

    void refuse_provider(const std::string& name, const Error& why) {
        // An annotation may name thousands: only the messages that are kept are made.
        if (outcome_.faults.size() >= most_faults) return outcome_.refuse({}, {});
        if (why.code == Errc::invalid)
            return fault("inject", fmt::format("provider {} is invalid: {}", quoted(name), why.message));
        const Namespaces nothing;
        const Namespaces& known = namespaces_ == nullptr ? nothing : *namespaces_;
        const std::size_t before = outcome_.faults.size();
        if (why.code == Errc::unavailable)
            fault("inject", fmt::format("provider {} cannot be resolved: {}; {}", quoted(name), why.message,
                                        known.way_out()));
        else
            fault("inject", fmt::format("provider {} not found; available providers: {}", quoted(name),
                                        known_providers()));
        if (outcome_.faults.size() == before) return;
        outcome_.faults.back().arriving = known.arriving();
        outcome_.faults.back().passing = known.arriving() && why.code == Errc::unavailable;
    }

    const std::string& known_providers() {
        if (known_providers_.empty()) known_providers_ = some_of(catalog_.names(namespace_));
        return known_providers_;
    }

    void find_providers() {
        std::vector<std::string> names = options_.providers;
        if (names.empty()) names.push_back(settings_.default_provider);
        const Labels* const labels = namespaces_ == nullptr ? nullptr : namespaces_->find(namespace_);
        for (const std::string& name : names) {
            const auto found = catalog_.find(namespace_, name, labels);
            if (!found) {
                refuse_provider(name, found.error());
                continue;
            }
            const Provider* const provider = *found;
            providers_.push_back(provider);
            if (catalog_.is_overruled(namespace_, name))
                warn(fmt::format(
                    "ignored AIProvider {} in namespace {}: {} has the same name, and this installation does "
                    "not allow shadowing; rename the AIProvider",
                    name, namespace_,
                    catalog_.is_built_in(name) ? "the built-in provider" : "a ClusterAIProvider"));
            for (const Variable& v : provider->variables) {
                if (const auto other = plan_.variables.find(v.name); other != plan_.variables.end()) {
                    fault("inject", fmt::format("two of the selected providers set the variable {}; select "
                                                "only one of these providers",
                                                v.name));
                    continue;
                }
                plan_.variables[v.name] = {
                    {provider->path, v.key}, provider->name + ".env", provider->secret};
                plan_.order.push_back(v.name);
            }
        }
    }

    // What a container is given that does not ask itself: the providers' variables, then those of
    // annotations.
    void order_variables() {
        for (const auto& [variable, reference] : options_.variables)
            if (!plan_.variables.contains(variable)) plan_.order.push_back(variable);
        ordered_.insert(plan_.order.begin(), plan_.order.end());
    }

    // Counts before anything is made of it. Names every limit that is passed.
    bool check_amount() {
        std::size_t references = 0, selected = 0;
        for (const Container& c : containers_) {
            references += c.references.size();
            selected += c.selected ? 1 : 0;
        }
        const std::size_t entries = references + selected * plan_.order.size();
        if (entries > most_wired)
            outcome_.refuse("spec.template.spec",
                            fmt::format("injection would set {} env entries, but the limit is {} per pod; "
                                        "select fewer containers with {}containers, or fewer variables",
                                        entries, most_wired, annotation_prefix));
        const std::size_t requested = options_.wiring == Wiring::secret ? 0 : requested_of(references);
        if (requested > most_requested)
            outcome_.refuse("spec.template.spec",
                            fmt::format("the pod requests {} variables and files from Vault, but the limit "
                                        "is {}, because the agent configuration must fit into an annotation; "
                                        "render a whole secret as one file with {}secret-<file>: path",
                                        requested, most_requested, annotation_prefix));
        return entries <= most_wired && requested <= most_requested;
    }

    // Different variables and files; what is no more than the limit is not counted exactly.
    std::size_t requested_of(std::size_t references) const {
        const std::size_t most = ordered_.size() + references + options_.files.size();
        if (most <= most_requested) return most;
        std::set<std::string_view> variables = ordered_;
        for (const Container& c : containers_)
            for (const std::size_t i : c.references) variables.insert(variable_of((*c.env)[i]));
        return variables.size() + options_.files.size();
    }

    // A reference of the workload's own wins over the provider's for the whole pod: one value a variable.
    bool refer(const std::string& variable, const Reference& reference) {
        const auto [asked, is_new] = references_.try_emplace(variable, Asked{.reference = reference});
        if (!is_new) return asked->second.reference == reference;
        const auto [carried, is_own] = plan_.variables.try_emplace(variable);
        if (!is_own && carried->second.reference == reference) return true;
        if (is_own) asked->second.rank = references_.size();
        carried->second = {reference, std::string(references_file)};
        return true;
    }

    void take_references() {
        for (const auto& [variable, reference] : options_.variables) refer(variable, reference);
        for (const Container& c : containers_) {
            for (const std::size_t i : c.references) {
                const std::string_view value = json::find_text((*c.env)[i], {"value"});
                const std::string name(variable_of((*c.env)[i]));
                const auto at = [i](std::string_view member) {
                    return fmt::format(".env[{}].{}", i, member);
                };
                std::string wrong;
                const auto reference = parse_reference(without_scheme(value), wrong);
                if (!reference) {
                    fault_at(c, at("value"), "invalid Vault reference (vault:<path>#<key>): " + wrong);
                } else if (!is_variable_name(name)) {
                    fault_at(c, at("name"),
                             "cannot be written to an env file: use letters, digits and '_', and do not "
                             "start with a digit");
                } else if (!refer(name, *reference)) {
                    fault_at(c, at("value"),
                             fmt::format("{} refers to a different path or key elsewhere in the pod; use two "
                                         "variable names",
                                         clipped(name)));
                } else if (c.variables.last(name) != i) {
                    fault_at(c, at("name"), "duplicate variable in this container; keep one entry");
                }
            }
        }
    }

    // Labels that are not known select nothing.
    void check_selected(const Provider& provider) {
        const Namespaces nothing;
        const Namespaces& known = namespaces_ == nullptr ? nothing : *namespaces_;
        const auto selected = match(provider.secret_namespaces, namespace_, known.find(namespace_));
        if (selected == Match::no)
            fault("wiring",
                  fmt::format("wiring secret is not available: spec.delivery.namespaceSelector of "
                              "ClusterAIProvider {} does not select namespace {}; use envfile, exec or file, "
                              "or ask the provider's administrator to select this namespace",
                              provider.name, namespace_));
        if (selected != Match::unknown) return;
        fault(
            "wiring",
            fmt::format("wiring secret is not available: spec.delivery.namespaceSelector of "
                        "ClusterAIProvider {} depends on labels of namespace {} ({}), which are unknown; {}",
                        provider.name, namespace_, labels_of(provider.secret_namespaces), known.way_out()));
        outcome_.faults.back().arriving = outcome_.faults.back().passing = known.arriving();
    }

    // Nothing but what the operator publishes is in a Secret, and no agent runs that could bring more.
    void check_published() {
        for (const Provider* p : providers_)
            if (p->secret.empty())
                fault("wiring",
                      fmt::format(
                          "wiring secret is not available: the operator publishes no Secret of provider {} "
                          "in this namespace; set spec.delivery.secret: true and spec.connectionRef in the "
                          "provider, without an override that sets vault, or use envfile, exec or file",
                          p->name));
            else
                check_selected(*p);
        for (const auto& [variable, carried] : plan_.variables)
            if (carried.file == references_file)
                fault(options_.variables.contains(variable) ? "env-" + variable : "wiring",
                      fmt::format("wiring secret cannot set {} from {}: it supports only the variables of "
                                  "providers; use envfile, exec or file",
                                  variable, carried.reference.path));
        for (const auto& [name, came_in] : options_.came_in)
            if (needs_agent(name))
                fault(name,
                      "not allowed with wiring secret, which runs no agent; remove it, or use envfile, exec "
                      "or file");
    }

    void find_connection() {
        if (options_.wiring == Wiring::secret) return check_published();
        if (providers_.empty()) return;
        plan_.vault = providers_.front()->vault;
        plan_.login = providers_.front()->login;
        const bool own_login =
            options_.role || options_.auth_type || options_.auth_path || options_.approle_secret;
        for (const Provider* p : providers_) {
            if (p->vault != plan_.vault && !options_.vault_address)
                fault("inject", fmt::format("providers {} and {} use different Vaults, but the agent "
                                            "connects to one Vault; select one of them",
                                            providers_.front()->name, p->name));
            if (p->login != plan_.login && !own_login)
                fault(
                    "inject",
                    fmt::format("providers {} and {} use different logins; select one of them, or set {}role",
                                providers_.front()->name, p->name, annotation_prefix));
        }
        if (options_.vault_address) {
            const bool of_provider =
                std::any_of(providers_.begin(), providers_.end(), [&](const Provider* p) {
                    return matches_address(p->vault.address, *options_.vault_address);
                });
            if (!of_provider && !matches_address(settings_.allowed_vault_addresses, *options_.vault_address))
                fault("vault-address",
                      "this installation does not allow the address; remove the annotation, or ask an "
                      "administrator to add the address to --allowed-vault-address");
            plan_.vault.address = *options_.vault_address;
        }
        if (options_.vault_namespace) plan_.vault.vault_namespace = *options_.vault_namespace;
        if (options_.tls_server_name) plan_.vault.tls_server_name = *options_.tls_server_name;
        if (options_.ca_secret) {
            plan_.ca_secret = *options_.ca_secret;
            plan_.vault.ca.clear();
        }
        Login& login = plan_.login;
        if (options_.auth_type && *options_.auth_type != login.type) {
            login.type = *options_.auth_type;
            login.path = "auth/" + login.type;
        }
        if (options_.auth_path)
            login.path = options_.auth_path->starts_with("auth/") ? *options_.auth_path
                                                                  : "auth/" + *options_.auth_path;
        if (options_.role) login.role = *options_.role;
        if (options_.token_audience) login.audience = *options_.token_audience;
        check_audience();
        if (options_.approle_secret) login.secret = *options_.approle_secret;
        if (login.type == "approle" && login.secret.empty())
            fault(options_.auth_type ? "auth-type" : "inject",
                  fmt::format("AppRole login needs a Secret with role_id and secret_id; set its name in "
                              "{}approle-secret",
                              annotation_prefix));
        if (login.type == "approle")
            for (const auto& [name, wish] :
                 {std::pair{"role", &options_.role}, std::pair{"token-audience", &options_.token_audience}})
                if (*wish)
                    fault(name,
                          fmt::format(
                              "not allowed with AppRole login; remove it, or set {}auth-type: kubernetes",
                              annotation_prefix));
        if (login.type == "kubernetes" && options_.approle_secret)
            fault("approle-secret",
                  fmt::format("allowed only with AppRole login; set {}auth-type: approle, or remove it",
                              annotation_prefix));
    }

    // A token for the API server's audience would let whoever receives it act as the workload there.
    void check_audience() {
        if (options_.token_audience &&
            std::ranges::find(settings_.allowed_token_audiences, *options_.token_audience) ==
                settings_.allowed_token_audiences.end())
            fault("token-audience",
                  fmt::format("this installation allows only the audiences {}; remove the annotation, or ask "
                              "an administrator to add the audience to --allowed-token-audience",
                              fmt::join(settings_.allowed_token_audiences, ", ")));
    }

    bool gets_variables(const Container& c) const {
        if (std::ranges::any_of(
                c.references, [&](std::size_t i) { return references_.contains(variable_of((*c.env)[i])); }))
            return true;
        // One that keeps every variable of its own gets none.
        return c.selected && std::ranges::any_of(plan_.order, [&](const std::string& v) {
                   return options_.on_conflict != OnConflict::keep || !c.variables.last(v);
               });
    }

    bool command_known(const Container& c) const {
        const json::array* command = json::find_array(*c.spec, {"command"});
        return (command != nullptr && !command->empty()) ||
               options_.entrypoints.contains(std::string(c.name));
    }

    void choose_wiring() {
        const bool envfile = settings_.kubernetes >= env_files && settings_.lowest_kubelet >= env_files;
        plan_.wiring = options_.wiring;
        std::vector<const Container*> opaque;  // containers whose command nobody can know here
        for (const Container& c : containers_)
            if (gets_variables(c) && !command_known(c)) opaque.push_back(&c);
        auto ways_out = [](const Container& c) {
            return fmt::format(
                "set `command`, or set {}entrypoint-{} to the image's ENTRYPOINT as a JSON array",
                annotation_prefix, clipped(c.name));
        };
        auto oldest = [&] {
            std::string version = std::min(settings_.kubernetes, settings_.lowest_kubelet).text();
            if (!settings_.kubelet_is_assumed) return version;
            const int older = settings_.kubernetes.minor - settings_.lowest_kubelet.minor;
            return version +
                   fmt::format(
                       " (assumed {} the API server, because --min-kubelet-version is not set)",
                       older > 0 ? fmt::format("to be {} minor versions older than", older) : "to match");
        };
        if (options_.wiring == Wiring::automatic) {
            plan_.wiring = envfile ? Wiring::envfile : Wiring::exec;
            for (const Container* c : opaque)
                if (!envfile)
                    fault_at(*c, ".command",
                             fmt::format("container {} has no command, and wiring exec needs one; wiring "
                                         "envfile is not available, because the oldest node runs Kubernetes "
                                         "{}; {}, or use {}wiring: file, or upgrade the nodes to 1.35",
                                         clipped(c->name), oldest(), ways_out(*c), annotation_prefix));
        } else if (options_.wiring == Wiring::envfile && !envfile) {
            fault("wiring", fmt::format("wiring envfile needs Kubernetes 1.35 or newer on every node, but "
                                        "the oldest node runs {}; use exec or auto",
                                        oldest()));
        } else if (options_.wiring == Wiring::exec) {
            for (const Container* c : opaque)
                fault_at(*c, ".command",
                         fmt::format("container {} has no command, and wiring exec needs one; {}",
                                     clipped(c->name), ways_out(*c)));
        }
        std::set<std::string_view> names;
        if (!options_.entrypoints.empty())
            for (const Container& c : containers_) names.insert(c.name);
        for (const auto& [name, words] : options_.entrypoints)
            if (!names.contains(name))
                fault("entrypoint-" + name, "the template has no container of this name");

        plan_.agent = options_.agent.value_or(default_agent(plan_.wiring));
        plan_.native_sidecar =
            settings_.kubernetes >= native_sidecars && settings_.lowest_kubelet >= native_sidecars;
        if (const std::string reason = refusal(plan_.wiring, plan_.agent, options_.on_rotate);
            !reason.empty())
            fault(
                (plan_.wiring == Wiring::secret) != (plan_.agent == AgentMode::none) ? "agent" : "on-rotate",
                reason);
    }

    // In the order in which they are added: first what a selected container is given, then what it asks for
    // itself.
    std::vector<std::string_view> wanted_by(const Container& c) const {
        std::vector<std::string_view> wanted;
        if (c.selected) wanted.assign(plan_.order.begin(), plan_.order.end());
        std::vector<std::pair<std::size_t, std::string_view>> own;
        for (const std::size_t i : c.references) {
            const std::string_view name = variable_of((*c.env)[i]);
            if ((c.selected && ordered_.contains(name)) || c.variables.last(name) != i) continue;
            if (const auto asked = references_.find(name); asked != references_.end())
                own.emplace_back(asked->second.rank, name);
        }
        std::ranges::sort(own);
        for (const auto& [rank, name] : own) wanted.push_back(name);
        return wanted;
    }

    void wire_containers() {
        Folders env_folders(plan_.env_folders), files_folders(plan_.files_folders);
        for (const Container& c : containers_) {
            ContainerPlan p{.list = std::string(c.list),
                            .index = c.index,
                            .name = std::string(c.name),
                            .variables = {},
                            .replaced = {},
                            .wrap = false,
                            .entrypoint = {}};
            const std::vector<std::string_view> wanted = wanted_by(c);
            const std::string shown = clipped(c.name);
            const json::array* sources = json::find_array(*c.spec, {"envFrom"});
            const bool has_sources = sources != nullptr && !sources->empty();
            std::set<std::string_view> expanded;
            if (!wanted.empty() && (plan_.wiring == Wiring::file || plan_.wiring == Wiring::exec))
                expanded = expansions_of(*c.spec);
            for (const std::string_view v : wanted) {
                const std::string of_file =
                    plan_.wiring == Wiring::file ? fmt::format("{}_FILE", v) : std::string();
                const std::string_view target = of_file.empty() ? v : std::string_view(of_file);
                std::optional<std::size_t> at = c.variables.last(v);
                const bool reference = at && is_reference(json::find_text((*c.env)[*at], {"value"}));
                if (!reference && target != v) at = c.variables.last(target);
                const json::value* entry = at ? &(*c.env)[*at] : nullptr;
                if (reference && plan_.wiring == Wiring::file) {
                    fault_at(
                        c, fmt::format(".env[{}].value", *at),
                        fmt::format(
                            "wiring file cannot set the environment variable {}; use envfile, exec or auto",
                            clipped(v)));
                    continue;
                }
                // An empty entry sets nothing: what a replaced literal leaves behind is one.
                const bool empty = entry != nullptr && json::find_text(*entry, {"value"}).empty() &&
                                   json::find(*entry, {"valueFrom"}) == nullptr;
                if (empty) p.replaced.emplace_back(v);
                if (entry != nullptr && !reference && !empty) {
                    if (options_.on_conflict == OnConflict::deny) {
                        fault_at(c, fmt::format(".env[{}]", *at),
                                 fmt::format("{} is already set, and {}on-conflict is deny; remove the entry",
                                             clipped(target), annotation_prefix));
                        continue;
                    }
                    if (options_.on_conflict == OnConflict::keep) {
                        warn(
                            fmt::format("container {} already sets {}, so it was not injected; set "
                                        "{}on-conflict: replace to override it",
                                        shown, clipped(target), annotation_prefix));
                        continue;
                    }
                    p.replaced.emplace_back(v);
                }
                p.variables.emplace_back(v);
                if (entry == nullptr && has_sources)
                    warn(fmt::format("container {} has envFrom; the injected value of {} takes precedence",
                                     shown, clipped(target)));
                if (plan_.wiring == Wiring::file && expanded.contains(v))
                    warn(fmt::format(
                        "container {} expands $({}), which wiring file does not set; use wiring envfile",
                        shown, clipped(v)));
                if (plan_.wiring == Wiring::exec && expanded.contains(v))
                    warn(
                        fmt::format("container {} expands $({}), but Kubernetes expands it before wiring "
                                    "exec sets the value; use wiring envfile",
                                    shown, clipped(v)));
            }
            p.wrap = plan_.wiring == Wiring::exec && !p.variables.empty();
            const json::array* command = json::find_array(*c.spec, {"command"});
            if (p.wrap && (command == nullptr || command->empty()))
                if (const auto entrypoint = options_.entrypoints.find(std::string(c.name));
                    entrypoint != options_.entrypoints.end())
                    p.entrypoint = entrypoint->second;
            const bool extra_files = c.selected && !options_.files.empty();
            const bool file_variables = plan_.wiring == Wiring::file && !p.variables.empty();
            const bool mounts_files = extra_files || file_variables;
            if (p.wrap) p.env_folder = env_folders.name_for(c.name, p.variables, false);
            if (mounts_files)
                p.files_folder = files_folders.name_for(
                    c.name, file_variables ? p.variables : std::vector<std::string>(), extra_files);
            if ((p.wrap && p.env_folder.empty()) || (mounts_files && p.files_folder.empty()))
                fault_at(c, ".name",
                         fmt::format("invalid value {}: must be a unique name of lower-case letters, digits "
                                     "and '-', because this name is the directory of the container's files",
                                     quoted(c.name)));
            if (!p.variables.empty() || extra_files) plan_.containers.push_back(std::move(p));
        }
        if (plan_.containers.empty() && outcome_.faults.empty())
            warn(
                "nothing was injected: no container is selected, or the containers already set the "
                "variables");
        // Only what somebody gets is rendered.
        std::set<std::string_view> wired;
        for (const ContainerPlan& c : plan_.containers) wired.insert(c.variables.begin(), c.variables.end());
        std::erase_if(plan_.variables, [&](const auto& v) { return !wired.contains(v.first); });
    }

    void plan_files() {
        for (const auto& [name, wish] : options_.files) {
            if (plan_.wiring == Wiring::file && plan_.variables.contains(name))
                fault(
                    (wish.content.empty() ? "secret-" : "template-") + name,
                    fmt::format("conflicts with the file of variable {} (wiring file); use another file name",
                                name));
            std::string contents = wish.content;
            if (contents.empty()) {
                const std::string fields =
                    R"({{ $d := .Data }}{{ if and (index .Data "data") (index .Data "metadata") }}{{ $d = index .Data "data" }}{{ end }})";
                contents = fmt::format(R"({{{{ with secret "{}" }}}}{})", wish.path, fields);
                contents +=
                    wish.key.empty()
                        ? std::string("{{ $d | toJSON }}")
                        : fmt::format(
                              R"({{{{ if not (index $d "{0}") }}}}{{{{ sprig_fail "keyshepherd: the field {0} is missing or empty at {1}" }}}}{{{{ end }}}}{{{{ index $d "{0}" }}}})",
                              wish.key, wish.path);
                contents += "{{ end }}";
            }
            plan_.files.push_back(
                {name, std::move(contents), wish.permissions.empty() ? "0444" : wish.permissions});
        }
    }

    // Each folder repeats the templates of its files in the agent's configuration. What cannot fit into the
    // annotations of an object is refused before it is written.
    void check_size() {
        std::size_t extra = 0, bytes = 0;
        for (const RenderedFile& file : plan_.files) extra += file.contents.size();
        for (const std::vector<Folder>* folders : {&plan_.env_folders, &plan_.files_folders})
            for (const Folder& folder : *folders)
                bytes += folder.variables.size() * shortest_template + (folder.extra_files ? extra : 0);
        if (bytes > annotation_bytes)
            outcome_.refuse(
                "spec.template.spec",
                fmt::format("the containers need {} different sets of files, and their templates do not fit "
                            "into the agent configuration; select fewer containers with {}containers, or "
                            "request the same files in each",
                            plan_.env_folders.size() + plan_.files_folders.size(), annotation_prefix));
    }

    void plan_agent() {
        if (plan_.agent != AgentMode::none && !plan_.containers.empty() && settings_.image.empty())
            fault("inject", fmt::format("needs the image that contains keyshepherd-exec; set --image of the "
                                        "webhook or of keyshepherd inject, or use {}wiring: secret",
                                        annotation_prefix));
        plan_.flavor = options_.agent_flavor.value_or(settings_.agent_flavor);
        plan_.agent_image = options_.agent_image.value_or(plan_.flavor == "vault" ? settings_.vault_image
                                                                                  : settings_.bao_image);
        plan_.log_level = options_.log_level.value_or(settings_.agent_log_level);
        plan_.user = options_.run_as_user.value_or(settings_.agent_user);
        plan_.group = options_.run_as_group.value_or(settings_.agent_group);
        auto take = [](const std::optional<std::string>& wish, const std::string& setting,
                       std::string& into) {
            auto quantity = parse_quantity(wish ? *wish : setting);
            into = wish || !quantity ? wish.value_or(setting) : quantity->canonical;
            return quantity;
        };
        const auto cpu_request = take(options_.cpu_request, settings_.agent.cpu_request, plan_.cpu_request);
        const auto cpu_limit = take(options_.cpu_limit, settings_.agent.cpu_limit, plan_.cpu_limit);
        const auto memory_request =
            take(options_.memory_request, settings_.agent.memory_request, plan_.memory_request);
        const auto memory_limit =
            take(options_.memory_limit, settings_.agent.memory_limit, plan_.memory_limit);
        auto fits = [&](const auto& request, const auto& limit, const char* what) {
            if (request && limit && request->milli > limit->milli)
                fault(options_.came_in.contains(fmt::format("agent-{}-request", what))
                          ? fmt::format("agent-{}-request", what)
                          : fmt::format("agent-{}-limit", what),
                      fmt::format(
                          "the {} request {} exceeds the limit {}; raise the limit or lower the request",
                          what, request->canonical, limit->canonical));
        };
        fits(cpu_request, cpu_limit, "cpu");
        fits(memory_request, memory_limit, "memory");
    }

    // What the API server would answer with a bare "must be unique" is said here in full.
    void check_collisions() {
        std::set<std::string_view> secrets;
        for (const Provider* p : providers_)
            if (plan_.wiring == Wiring::secret && !p->secret.empty()) secrets.insert(p->secret);
        for (const Container& c : containers_) {
            for (std::size_t i = 0; c.env != nullptr && i < c.env->size(); ++i) {
                const json::value* source = json::find((*c.env)[i], {"valueFrom"});
                if (source == nullptr) continue;
                if (secrets.contains(json::find_text(*source, {"secretKeyRef", "name"})))
                    fault_at(
                        c, fmt::format(".env[{}].valueFrom.secretKeyRef.name", i),
                        fmt::format(
                            "{}wiring: secret already sets the variables from this Secret; remove the entry",
                            annotation_prefix));
                if (is_own_name(json::find_text(*source, {"fileKeyRef", "volumeName"})))
                    fault_at(
                        c, fmt::format(".env[{}].valueFrom.fileKeyRef.volumeName", i),
                        fmt::format("reserved for keyshepherd; use {}env-{}: path#key to set the variable",
                                    annotation_prefix, clipped(variable_of((*c.env)[i]))));
            }
            if (c.name.starts_with(name_prefix))
                fault_at(c, ".name",
                         fmt::format("invalid value \"{}\": names that start with {} are reserved; rename it",
                                     clipped(c.name), name_prefix));
            if (const json::array* mounts = json::find_array(*c.spec, {"volumeMounts"}))
                for (std::size_t i = 0; i < mounts->size(); ++i) {
                    const std::string_view path = json::find_text((*mounts)[i], {"mountPath"});
                    if (is_own_name(json::find_text((*mounts)[i], {"name"})))
                        fault_at(c, fmt::format(".volumeMounts[{}].name", i),
                                 fmt::format("reserved for keyshepherd; use {}secret-<file> to add a file",
                                             annotation_prefix));
                    if (path == root_folder || path.starts_with("/keyshepherd/"))
                        fault_at(c, fmt::format(".volumeMounts[{}].mountPath", i),
                                 fmt::format("invalid value \"{}\": {} is reserved; use another path",
                                             clipped(path), root_folder));
                }
        }
        if (const json::array* volumes = json::find_array(pod_, {"volumes"}))
            for (std::size_t i = 0; i < volumes->size(); ++i)
                if (const std::string_view name = json::find_text((*volumes)[i], {"name"});
                    name.starts_with(name_prefix))
                    outcome_.refuse(
                        fmt::format("spec.template.spec.volumes[{}].name", i),
                        fmt::format("invalid value \"{}\": names that start with {} are reserved; rename it",
                                    clipped(name), name_prefix));
    }

    const AnnotationOptions& options_;
    const Source& source_;
    std::string_view namespace_;
    const Namespaces* namespaces_;
    const Catalog& catalog_;
    const Settings& settings_;
    Outcome& outcome_;
    const json::value& pod_;
    std::vector<Container> containers_;
    std::vector<const Provider*> providers_;
    struct Asked {
        Reference reference;
        std::size_t rank =
            std::numeric_limits<std::size_t>::max();  // of those that no provider has, by first use
    };
    std::map<std::string, Asked, std::less<>> references_;  // the workload's own, by variable
    std::set<std::string_view> ordered_;                    // plan_.order, which changes no more
    std::string known_providers_;                           // for a message; "" until one needs it
    Plan plan_;
};

}  // namespace

std::string Source::field(const std::string& name) const {
    const auto known = fields.find(name);
    return known == fields.end() ? fmt::format("metadata.annotations[{}{}]", annotation_prefix, name)
                                 : known->second;
}

Plan decide(const json::value& pod, const AnnotationOptions& options, const Source& source,
            const Workload& about, const Catalog& catalog, const Settings& settings, Outcome& outcome) {
    return Decision(pod, options, source, about, catalog, settings, outcome).take();
}

}  // namespace keyshepherd::inject
