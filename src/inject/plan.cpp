#include "plan.hpp"

#include "layout.hpp"
#include "names.hpp"
#include "quantity.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace keyshepherd::inject {

namespace {

constexpr KubernetesVersion native_sidecars{
    1, 29};  // on by default; https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
constexpr KubernetesVersion env_files{1, 35};  // fileKeyRef, on by default

// The one matrix of what goes together; "" where it does.
std::string refuse(Wiring wiring, AgentMode agent, OnRotate on_rotate) {
    if (wiring == Wiring::secret && agent != AgentMode::none)
        return fmt::format("wiring secret runs no agent; drop agent {}, or use envfile, exec or file",
                           text(agent));
    if (wiring != Wiring::secret && agent == AgentMode::none)
        return fmt::format("wiring {} needs an agent in the pod; use agent sidecar or init", text(wiring));
    switch (on_rotate) {
        case OnRotate::by_wiring:
        case OnRotate::rollout:
        case OnRotate::none:
            return "";
        case OnRotate::restart:
        case OnRotate::signal:
            return fmt::format(
                "on-rotate {} is not possible with wiring {}: the process is not watched by keyshepherd; use "
                "rollout or none",
                text(on_rotate), text(wiring));
    }
    return "";
}

struct Container {
    std::string_view list;
    std::size_t index;
    std::string_view name;
    const json::value* spec;
    const json::array* env;                   // nullptr: none
    std::vector<std::string_view> variables;  // the names of `env`, "" for an entry that has none
    bool selected;
};

std::vector<Container> containers_of(const json::value& pod) {
    std::vector<Container> all;
    for (const std::string_view list : {"initContainers", "containers"}) {
        const json::array* elements = json::find_array(pod, {list});
        if (elements == nullptr) continue;
        all.reserve(all.size() + elements->size());
        for (std::size_t i = 0; i < elements->size(); ++i) {
            const json::value& spec = (*elements)[i];
            Container& c =
                all.emplace_back(list, i, json::find_text(spec, {"name"}), &spec,
                                 json::find_array(spec, {"env"}), std::vector<std::string_view>(), false);
            if (c.env == nullptr) continue;
            c.variables.reserve(c.env->size());
            for (const json::value& entry : *c.env) c.variables.push_back(json::find_text(entry, {"name"}));
        }
    }
    return all;
}

// The last entry of that name: the one that kubelet takes.
const json::value* env_entry(const Container& container, std::string_view name,
                             std::size_t* index = nullptr) {
    for (std::size_t i = container.variables.size(); i-- > 0;)
        if (container.variables[i] == name) {
            if (index != nullptr) *index = i;
            return &(*container.env)[i];
        }
    return nullptr;
}

bool uses_expansion(const json::value& container, std::string_view variable) {
    const std::string expansion = fmt::format("$({})", variable);
    for (const std::string_view list : {"command", "args"})
        if (const json::array* words = json::find_array(container, {list}))
            for (const json::value& word : *words)
                if (word.is_string() &&
                    std::string_view(word.get_string()).find(expansion) != std::string_view::npos)
                    return true;
    if (const json::array* env = json::find_array(container, {"env"}))
        for (const json::value& entry : *env)
            if (json::find_text(entry, {"value"}).find(expansion) != std::string_view::npos) return true;
    return false;
}

bool allowed_address(std::string_view address, const Settings& settings) {
    return std::any_of(
        settings.allowed_vault_addresses.begin(), settings.allowed_vault_addresses.end(),
        [&](const std::string& a) {
            const std::size_t star = a.find('*');
            if (star == std::string::npos) return a == address;
            // One label: https://*.example:8200 takes https://vault.example:8200, never
            // https://evil.test/.example:8200.
            const std::string_view head = std::string_view(a).substr(0, star),
                                   tail = std::string_view(a).substr(star + 1);
            if (address.size() <= head.size() + tail.size() || !address.starts_with(head) ||
                !address.ends_with(tail))
                return false;
            return is_dns_label(address.substr(head.size(), address.size() - head.size() - tail.size()));
        });
}

class Decision {
public:
    Decision(const json::value& pod, const Wishes& wishes, const Source& source, const Workload& about,
             const Catalog& catalog, const Settings& settings, Outcome& outcome)
        : wishes_(wishes),
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
        take_references();
        find_connection();
        choose_wiring();
        wire_containers();
        plan_files();
        plan_agent();
        check_collisions();
        return std::move(plan_);
    }

private:
    void fault(const std::string& annotation, std::string message) {
        outcome_.faults.push_back({source_.field(annotation), std::move(message)});
    }
    void fault_at(const Container& c, std::string_view below, std::string message) {
        outcome_.faults.push_back(
            {fmt::format("spec.template.spec.{}[{}]{}", c.list, c.index, below), std::move(message)});
    }
    void warn(std::string message) { outcome_.warnings.push_back(std::move(message)); }

    void select(std::string_view list, const std::string& annotation,
                const std::optional<std::vector<std::string>>& names, bool all_by_default) {
        if (!names) {
            for (Container& c : containers_) c.selected |= all_by_default && c.list == list;
            return;
        }
        for (const std::string& name : *names) {
            const auto c = std::find_if(containers_.begin(), containers_.end(),
                                        [&](const Container& x) { return x.list == list && x.name == name; });
            if (c != containers_.end()) {
                c->selected = true;
                continue;
            }
            std::vector<std::string_view> known;
            for (const Container& x : containers_)
                if (x.list == list) known.push_back(x.name);
            fault(annotation,
                  fmt::format("names {}, which the template does not have; {} are: {}", quoted(name),
                              list == "containers" ? "its containers" : "its init containers",
                              known.empty() ? "(none)" : fmt::format("{}", fmt::join(known, ", "))));
        }
    }

    void select_containers() {
        select("containers", "containers", wishes_.containers, true);
        select("initContainers", "init-containers", wishes_.init_containers, false);
    }

    void refuse_provider(const std::string& name, const Error& why) {
        if (why.code == Errc::invalid)
            return fault("inject", fmt::format("names the provider {}, which has faults and is not used: {}",
                                               quoted(name), why.message));
        const Namespaces nothing;
        const Namespaces& known = namespaces_ == nullptr ? nothing : *namespaces_;
        if (why.code == Errc::unavailable)
            fault("inject", fmt::format("names the provider {}, but {}: {}", quoted(name), why.message,
                                        known.way_out()));
        else
            fault("inject", fmt::format("names the provider {}, which is unknown; known are: {}",
                                        quoted(name), fmt::join(catalog_.names(namespace_), ", ")));
        outcome_.faults.back().arriving = known.arriving();
        outcome_.faults.back().passing = known.arriving() && why.code == Errc::unavailable;
    }

    void find_providers() {
        std::vector<std::string> names = wishes_.providers;
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
            for (const Variable& v : provider->variables) {
                if (const auto other = plan_.variables.find(v.name); other != plan_.variables.end()) {
                    fault("inject",
                          fmt::format("names two providers that both set {}; drop one of them", v.name));
                    continue;
                }
                plan_.variables[v.name] = {
                    {provider->path, v.key}, provider->name + ".env", provider->secret};
                plan_.order.push_back(v.name);
            }
        }
    }

    // A reference of the workload's own wins over the provider's for the whole pod: one value a variable.
    bool refer(const std::string& variable, const Reference& reference) {
        const auto asked = references_.find(variable);
        if (asked != references_.end()) return asked->second == reference;
        references_[variable] = reference;
        const auto carried = plan_.variables.find(variable);
        if (carried != plan_.variables.end() && carried->second.reference == reference) return true;
        if (carried == plan_.variables.end()) referred_.push_back(variable);
        plan_.variables[variable] = {reference, std::string(references_file)};
        return true;
    }

    void take_references() {
        for (const auto& [variable, reference] : wishes_.variables) {
            refer(variable, reference);
            if (std::find(plan_.order.begin(), plan_.order.end(), variable) == plan_.order.end())
                plan_.order.push_back(variable);
        }
        for (const Container& c : containers_) {
            for (std::size_t i = 0; i < c.variables.size(); ++i) {
                const std::string_view value = json::find_text((*c.env)[i], {"value"});
                if (!is_reference(value)) continue;
                const std::string name(c.variables[i]);
                const std::string at = fmt::format(".env[{}]", i);
                std::string wrong;
                const auto reference = parse_reference(value.substr(6), wrong);
                if (!reference) {
                    fault_at(c, at + ".value",
                             "asks for a value out of Vault (vault:<path>#<key>) but " + wrong);
                } else if (!is_variable_name(name)) {
                    fault_at(c, at + ".name",
                             "must have only letters, digits and '_' and start with no digit to be carried "
                             "by an env file");
                } else if (!refer(name, *reference)) {
                    fault_at(c, at + ".value",
                             fmt::format("asks for {} from another place than the rest of the pod does; a "
                                         "variable has one "
                                         "value in a pod, so use two names",
                                         name));
                } else if (const auto* last = env_entry(c, name); last != &(*c.env)[i]) {
                    fault_at(c, at + ".name", "stands twice in this container; keep one entry");
                }
            }
        }
    }

    // Nothing but what the operator publishes is in a Secret, and no agent runs that could bring more.
    void check_published() {
        for (const Provider* p : providers_)
            if (p->secret.empty())
                fault("wiring",
                      fmt::format(
                          "is secret, and the operator publishes no Secret for the provider {} here: that "
                          "takes spec.delivery.secret: true and spec.connectionRef in it, and no Vault "
                          "of its own in an override; or use envfile, exec or file",
                          p->name));
        for (const auto& [variable, carried] : plan_.variables)
            if (carried.file == references_file)
                fault(
                    wishes_.variables.contains(variable) ? "env-" + variable : "wiring",
                    fmt::format("asks for {} out of {}, and wiring secret carries the variables of providers "
                                "only; use envfile, exec or file",
                                variable, carried.reference.path));
        const auto of_agent = [](std::string_view name) {
            for (const std::string_view family : {"secret-", "template-", "perms-", "agent-"})
                if (name.starts_with(family)) return true;
            for (const std::string_view one :
                 {"role", "auth-type", "auth-path", "token-audience", "approle-secret", "vault-address",
                  "vault-namespace", "ca-secret", "tls-server-name", "log-level"})
                if (name == one) return true;
            return false;
        };
        for (const auto& [name, value] : source_.values)
            if (of_agent(name))
                fault(name,
                      "is for the agent, and wiring secret runs none; drop it, or use envfile, exec or file");
    }

    void find_connection() {
        if (wishes_.wiring == Wiring::secret) return check_published();
        if (providers_.empty()) return;
        plan_.vault = providers_.front()->vault;
        plan_.login = providers_.front()->login;
        const bool own_login =
            wishes_.role || wishes_.auth_type || wishes_.auth_path || wishes_.approle_secret;
        for (const Provider* p : providers_) {
            if (p->vault != plan_.vault && !wishes_.vault_address)
                fault("inject", fmt::format("names {} and {}, whose Vault is not the same; one agent logs in "
                                            "to one Vault, so name one of them",
                                            providers_.front()->name, p->name));
            if (p->login != plan_.login && !own_login)
                fault(
                    "inject",
                    fmt::format("names {} and {}, which log in differently; name one, or say how with {}role",
                                providers_.front()->name, p->name, annotation_prefix));
        }
        if (wishes_.vault_address) {
            const bool of_provider =
                std::any_of(providers_.begin(), providers_.end(),
                            [&](const Provider* p) { return p->vault.address == *wishes_.vault_address; });
            if (!of_provider && !allowed_address(*wishes_.vault_address, settings_))
                fault("vault-address",
                      "is not allowed by this installation; ask its administrator for "
                      "--allowed-vault-address, or drop it");
            plan_.vault.address = *wishes_.vault_address;
        }
        if (wishes_.vault_namespace) plan_.vault.vault_namespace = *wishes_.vault_namespace;
        if (wishes_.tls_server_name) plan_.vault.tls_server_name = *wishes_.tls_server_name;
        if (wishes_.ca_secret) {
            plan_.ca_secret = *wishes_.ca_secret;
            plan_.vault.ca.clear();
        }
        Login& login = plan_.login;
        if (wishes_.auth_type && *wishes_.auth_type != login.type) {
            login.type = *wishes_.auth_type;
            login.path = "auth/" + login.type;
        }
        if (wishes_.auth_path)
            login.path =
                wishes_.auth_path->starts_with("auth/") ? *wishes_.auth_path : "auth/" + *wishes_.auth_path;
        if (wishes_.role) login.role = *wishes_.role;
        if (wishes_.token_audience) login.audience = *wishes_.token_audience;
        if (wishes_.approle_secret) login.secret = *wishes_.approle_secret;
        if (login.type == "approle" && login.secret.empty())
            fault(wishes_.auth_type ? "auth-type" : "inject",
                  fmt::format("means an AppRole login, which needs a Secret with role_id and secret_id; name "
                              "it with {}approle-secret",
                              annotation_prefix));
        if (login.type == "approle")
            for (const auto& [name, wish] :
                 {std::pair{"role", &wishes_.role}, std::pair{"token-audience", &wishes_.token_audience}})
                if (*wish)
                    fault(name, fmt::format("is only for the Kubernetes login, and this one is AppRole; drop "
                                            "it, or add {}auth-type: kubernetes",
                                            annotation_prefix));
        if (login.type == "kubernetes" && wishes_.approle_secret)
            fault("approle-secret", fmt::format("is only for AppRole; add {}auth-type: approle, or drop it",
                                                annotation_prefix));
    }

    bool gets_variables(const Container& c) const {
        // One that keeps every variable of its own gets none.
        if (c.selected && std::any_of(plan_.order.begin(), plan_.order.end(), [&](const std::string& v) {
                return wishes_.on_conflict != OnConflict::keep || env_entry(c, v) == nullptr;
            }))
            return true;
        return std::any_of(references_.begin(), references_.end(), [&](const auto& r) {
            const json::value* entry = env_entry(c, r.first);
            return entry != nullptr && is_reference(json::find_text(*entry, {"value"}));
        });
    }

    bool command_known(const Container& c) const {
        const json::array* command = json::find_array(*c.spec, {"command"});
        return (command != nullptr && !command->empty()) || wishes_.entrypoints.contains(std::string(c.name));
    }

    void choose_wiring() {
        const bool envfile = settings_.kubernetes >= env_files && settings_.lowest_kubelet >= env_files;
        plan_.wiring = wishes_.wiring;
        std::vector<const Container*> opaque;  // containers whose command nobody can know here
        for (const Container& c : containers_)
            if (gets_variables(c) && !command_known(c)) opaque.push_back(&c);
        auto ways_out = [](const Container& c) {
            return fmt::format(
                "set its `command`, or {}entrypoint-{} to the image's ENTRYPOINT as a JSON list",
                annotation_prefix, c.name);
        };
        auto oldest = [&] {
            std::string version = std::min(settings_.kubernetes, settings_.lowest_kubelet).text();
            if (!settings_.kubelet_is_assumed) return version;
            const int older = settings_.kubernetes.minor - settings_.lowest_kubelet.minor;
            return version + fmt::format(" (assumed, {} the API server: --min-kubelet-version is not given)",
                                         older > 0 ? fmt::format("{} minors older than", older) : "as");
        };
        if (wishes_.wiring == Wiring::automatic) {
            plan_.wiring = envfile ? Wiring::envfile : Wiring::exec;
            for (const Container* c : opaque)
                if (!envfile)
                    fault_at(
                        *c, ".command",
                        fmt::format(
                            "is absent in container {}, and the oldest node runs Kubernetes {}, where a "
                            "variable can only be set "
                            "through the command; {}, or use {}wiring: file, or upgrade the nodes to 1.35",
                            c->name, oldest(), ways_out(*c), annotation_prefix));
        } else if (wishes_.wiring == Wiring::envfile && !envfile) {
            fault("wiring", fmt::format("is envfile, which needs every node at Kubernetes 1.35 or newer; the "
                                        "oldest is {}, where the variable "
                                        "would be empty. Use exec or auto",
                                        oldest()));
        } else if (wishes_.wiring == Wiring::exec) {
            for (const Container* c : opaque)
                fault_at(*c, ".command",
                         fmt::format("is absent in container {}, and wiring exec must know what to run; {}",
                                     c->name, ways_out(*c)));
        }
        for (const auto& [name, words] : wishes_.entrypoints)
            if (std::none_of(containers_.begin(), containers_.end(),
                             [&](const Container& c) { return c.name == name; }))
                fault("entrypoint-" + name, "is for a container that the template does not have");

        plan_.agent =
            wishes_.wiring == Wiring::secret && !wishes_.agent_given ? AgentMode::none : wishes_.agent;
        plan_.native_sidecar =
            settings_.kubernetes >= native_sidecars && settings_.lowest_kubelet >= native_sidecars;
        if (const std::string reason = refuse(plan_.wiring, plan_.agent, wishes_.on_rotate); !reason.empty())
            fault(
                (plan_.wiring == Wiring::secret) != (plan_.agent == AgentMode::none) ? "agent" : "on-rotate",
                reason);
    }

    void wire_containers() {
        for (const Container& c : containers_) {
            ContainerPlan p{
                .list = std::string(c.list),
                .index = c.index,
                .name = std::string(c.name),
                .variables = {},
                .replaced = {},
                .wrap = false,
                .entrypoint = {},
                .mount_files = c.selected && (!wishes_.files.empty() || plan_.wiring == Wiring::file)};
            std::vector<std::string_view> wanted;
            if (c.selected) wanted.assign(plan_.order.begin(), plan_.order.end());
            for (const std::string& v : referred_)
                if (std::find(wanted.begin(), wanted.end(), v) == wanted.end()) wanted.push_back(v);
            for (const auto& [v, reference] : references_)
                if (std::find(wanted.begin(), wanted.end(), v) == wanted.end()) wanted.push_back(v);
            for (const std::string_view v : wanted) {
                std::size_t at = 0;
                const std::string of_file =
                    plan_.wiring == Wiring::file ? fmt::format("{}_FILE", v) : std::string();
                const std::string_view target = of_file.empty() ? v : std::string_view(of_file);
                const json::value* entry = env_entry(c, v, &at);
                const bool reference = entry != nullptr && is_reference(json::find_text(*entry, {"value"}));
                const bool ordered =
                    c.selected && std::find(plan_.order.begin(), plan_.order.end(), v) != plan_.order.end();
                if (!reference && !ordered) continue;
                if (!reference && target != v) entry = env_entry(c, target, &at);
                if (reference && plan_.wiring == Wiring::file) {
                    fault_at(c, fmt::format(".env[{}].value", at),
                             fmt::format("asks for {} in the environment, which wiring file does not give; "
                                         "use envfile, exec or auto",
                                         v));
                    continue;
                }
                // An empty entry sets nothing: what a replaced literal leaves behind is one.
                const bool empty = entry != nullptr && json::find_text(*entry, {"value"}).empty() &&
                                   json::find(*entry, {"valueFrom"}) == nullptr;
                if (empty) p.replaced.emplace_back(v);
                if (entry != nullptr && !reference && !empty) {
                    if (wishes_.on_conflict == OnConflict::deny) {
                        fault_at(c, fmt::format(".env[{}]", at),
                                 fmt::format("sets {} itself and {}on-conflict is deny; remove the entry",
                                             target, annotation_prefix));
                        continue;
                    }
                    if (wishes_.on_conflict == OnConflict::keep) {
                        warn(
                            fmt::format("container {} sets {} itself: kept as it is; {}on-conflict: replace "
                                        "would wire it",
                                        c.name, target, annotation_prefix));
                        continue;
                    }
                    p.replaced.emplace_back(v);
                }
                p.variables.emplace_back(v);
                if (entry == nullptr && json::find_array(*c.spec, {"envFrom"}) != nullptr &&
                    !json::find_array(*c.spec, {"envFrom"})->empty())
                    warn(fmt::format("container {} has envFrom: should it hold {}, the injected value wins",
                                     c.name, target));
                if (plan_.wiring == Wiring::file && uses_expansion(*c.spec, v))
                    warn(
                        fmt::format("container {} expands $({}), which wiring file does not set; wiring "
                                    "envfile can do it",
                                    c.name, v));
                if (plan_.wiring == Wiring::exec && uses_expansion(*c.spec, v))
                    warn(
                        fmt::format("container {} expands $({}), which Kubernetes does before the launcher "
                                    "has the value; wiring envfile can do it",
                                    c.name, v));
            }
            p.wrap = plan_.wiring == Wiring::exec && !p.variables.empty();
            const json::array* command = json::find_array(*c.spec, {"command"});
            if (p.wrap && (command == nullptr || command->empty()))
                if (const auto entrypoint = wishes_.entrypoints.find(std::string(c.name));
                    entrypoint != wishes_.entrypoints.end())
                    p.entrypoint = entrypoint->second;
            if (!p.variables.empty() || p.mount_files) plan_.containers.push_back(std::move(p));
        }
        if (plan_.containers.empty() && outcome_.faults.empty())
            warn("no container gets anything: each sets the variables itself, or none is selected");
        // Only what somebody gets is rendered.
        std::erase_if(plan_.variables, [&](const auto& v) {
            return std::none_of(
                plan_.containers.begin(), plan_.containers.end(), [&](const ContainerPlan& c) {
                    return std::find(c.variables.begin(), c.variables.end(), v.first) != c.variables.end();
                });
        });
    }

    void plan_files() {
        for (const auto& [name, wish] : wishes_.files) {
            if (plan_.wiring == Wiring::file && plan_.variables.contains(name))
                fault(
                    (wish.content.empty() ? "secret-" : "template-") + name,
                    fmt::format("would be rendered where wiring file puts the variable {}; take another name",
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

    void plan_agent() {
        plan_.flavor = wishes_.agent_flavor.value_or(settings_.agent_flavor);
        plan_.agent_image = wishes_.agent_image.value_or(plan_.flavor == "vault" ? settings_.vault_image
                                                                                 : settings_.bao_image);
        plan_.log_level = wishes_.log_level.value_or(settings_.agent_log_level);
        plan_.user = wishes_.run_as_user.value_or(settings_.agent_user);
        plan_.group = wishes_.run_as_group.value_or(settings_.agent_group);
        auto take = [](const std::optional<std::string>& wish, const std::string& setting,
                       std::string& into) {
            auto quantity = parse_quantity(wish ? *wish : setting);
            into = wish || !quantity ? wish.value_or(setting) : quantity->canonical;
            return quantity;
        };
        const auto cpu_request = take(wishes_.cpu_request, settings_.agent.cpu_request, plan_.cpu_request);
        const auto cpu_limit = take(wishes_.cpu_limit, settings_.agent.cpu_limit, plan_.cpu_limit);
        const auto memory_request =
            take(wishes_.memory_request, settings_.agent.memory_request, plan_.memory_request);
        const auto memory_limit =
            take(wishes_.memory_limit, settings_.agent.memory_limit, plan_.memory_limit);
        auto fits = [&](const auto& request, const auto& limit, const char* what) {
            if (request && limit && request->milli > limit->milli)
                fault(source_.values.contains(fmt::format("agent-{}-request", what))
                          ? fmt::format("agent-{}-request", what)
                          : fmt::format("agent-{}-limit", what),
                      fmt::format("makes the {} request {} greater than the limit {}; raise the limit or "
                                  "lower the request",
                                  what, request->canonical, limit->canonical));
        };
        fits(cpu_request, cpu_limit, "cpu");
        fits(memory_request, memory_limit, "memory");
    }

    // What the API server would answer with a bare "must be unique" is said here in full.
    void check_collisions() {
        for (const Container& c : containers_) {
            for (std::size_t i = 0; plan_.wiring == Wiring::secret && i < c.variables.size(); ++i)
                if (const auto name = json::find_text((*c.env)[i], {"valueFrom", "secretKeyRef", "name"});
                    std::ranges::any_of(
                        providers_, [&](const Provider* p) { return !name.empty() && p->secret == name; }))
                    fault_at(c, fmt::format(".env[{}].valueFrom.secretKeyRef.name", i),
                             fmt::format("is the Secret that {}wiring: secret wires; drop the entry",
                                         annotation_prefix));
            for (std::size_t i = 0; i < c.variables.size(); ++i)
                if (is_own_name(json::find_text((*c.env)[i], {"valueFrom", "fileKeyRef", "volumeName"})))
                    fault_at(c, fmt::format(".env[{}].valueFrom.fileKeyRef.volumeName", i),
                             fmt::format(
                                 "is keyshepherd's own volume; ask for the variable with {}env-{}: path#key",
                                 annotation_prefix, c.variables[i]));
            if (c.name.starts_with(name_prefix))
                fault_at(
                    c, ".name",
                    fmt::format("is \"{}\"; names that start with {} are keyshepherd's own, so rename it",
                                c.name, name_prefix));
            if (const json::array* mounts = json::find_array(*c.spec, {"volumeMounts"}))
                for (std::size_t i = 0; i < mounts->size(); ++i) {
                    const std::string_view path = json::find_text((*mounts)[i], {"mountPath"});
                    if (is_own_name(json::find_text((*mounts)[i], {"name"})))
                        fault_at(
                            c, fmt::format(".volumeMounts[{}].name", i),
                            fmt::format("is keyshepherd's own volume; ask for a file with {}secret-<file>",
                                        annotation_prefix));
                    if (path == root_folder || path.starts_with("/keyshepherd/"))
                        fault_at(c, fmt::format(".volumeMounts[{}].mountPath", i),
                                 fmt::format("is \"{}\"; {} is keyshepherd's own, so mount it elsewhere",
                                             path, root_folder));
                }
        }
        if (const json::array* volumes = json::find_array(pod_, {"volumes"}))
            for (std::size_t i = 0; i < volumes->size(); ++i)
                if (const std::string_view name = json::find_text((*volumes)[i], {"name"});
                    name.starts_with(name_prefix))
                    outcome_.faults.push_back(
                        {fmt::format("spec.template.spec.volumes[{}].name", i),
                         fmt::format(
                             "is \"{}\"; names that start with {} are keyshepherd's own, so rename it", name,
                             name_prefix)});
    }

    const Wishes& wishes_;
    const Source& source_;
    std::string_view namespace_;
    const Namespaces* namespaces_;
    const Catalog& catalog_;
    const Settings& settings_;
    Outcome& outcome_;
    const json::value& pod_;
    std::vector<Container> containers_;
    std::vector<const Provider*> providers_;
    std::map<std::string, Reference> references_;  // the workload's own, by variable
    std::vector<std::string> referred_;            // of these, the ones that no provider has
    Plan plan_;
};

}  // namespace

std::string Source::field(const std::string& name) const {
    const auto known = fields.find(name);
    return known == fields.end() ? fmt::format("metadata.annotations[{}{}]", annotation_prefix, name)
                                 : known->second;
}

Plan decide(const json::value& pod, const Wishes& wishes, const Source& source, const Workload& about,
            const Catalog& catalog, const Settings& settings, Outcome& outcome) {
    return Decision(pod, wishes, source, about, catalog, settings, outcome).take();
}

}  // namespace keyshepherd::inject
