#include "agent.hpp"

#include "layout.hpp"

#include <keyshepherd/json/writer.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace keyshepherd::inject {

namespace {

using json::Writer;

// How a template reads fields of a kv-v2 secret and of any other alike.
constexpr std::string_view fields_of_secret =
    R"({{ $d := .Data }}{{ if and (index .Data "data") (index .Data "metadata") }}{{ $d = index .Data "data" }}{{ end }})";

std::string missing_or_empty(std::string_view key, std::string_view path) {
    return fmt::format(R"({{{{ sprig_fail "keyshepherd: the field {} is missing or empty at {}" }}}})", key,
                       path);
}

// One env file in kubelet's grammar (pkg/kubelet/util/env): NAME='value', no quote inside a value, a line
// below 64 KiB, CR is lost. What it cannot carry stops the rendering with a message that the startup probe
// shows.
std::string env_file(const std::vector<std::pair<std::string, Reference>>& variables) {
    std::string out;
    out.reserve(variables.size() << 10);
    auto add = [&out](auto... pieces) { ((out += pieces), ...); };
    std::string_view open;
    for (const auto& [name, reference] : variables) {
        const std::string_view key = reference.key, path = reference.path;
        if (open != path) {
            if (!open.empty()) add("{{ end }}");
            add("{{ with secret \"", path, "\" }}", fields_of_secret);
            open = path;
        }
        add("{{ if not (index $d \"", key, "\") }}", missing_or_empty(key, path), "{{ end }}");
        add("{{ $v := printf \"%v\" (index $d \"", key, "\") }}");
        add(R"({{ if or (regexMatch "['\r\x00]" $v) (gt (len $v) 60000) }}{{ sprig_fail "keyshepherd: the field )",
            key, " at ", path,
            R"( has a quote ('), a carriage return or a NUL, or is longer than 60000 bytes: wiring file can carry it" }}{{ end }})");
        add(name, "='{{ $v }}'\n");
    }
    add("{{ end }}");
    return out;
}

// The bare value, with nothing behind it.
std::string value_file(const Reference& reference) {
    return fmt::format(
        R"({{{{ with secret "{1}" }}}}{2}{{{{ if not (index $d "{0}") }}}}{3}{{{{ end }}}}{{{{ index $d "{0}" }}}}{{{{ end }}}})",
        reference.key, reference.path, fields_of_secret, missing_or_empty(reference.key, reference.path));
}

struct Rendered {
    std::string destination, contents, permissions;
};

std::vector<Rendered> rendered_files(const Plan& plan) {
    std::vector<Rendered> files;
    if (plan.wiring == Wiring::file) {
        for (const auto& [name, carried] : plan.variables)
            files.push_back(
                {fmt::format("{}/{}", files_folder, name), value_file(carried.reference), "0444"});
    } else {
        std::map<std::string, std::vector<std::pair<std::string, Reference>>> by_file;
        auto add = [&](const std::string& name) {
            if (const auto carried = plan.variables.find(name); carried != plan.variables.end())
                by_file[carried->second.file].emplace_back(name, carried->second.reference);
        };
        for (const std::string& name : plan.order) add(name);  // the provider's order: the key first
        for (const auto& [name, carried] : plan.variables)
            if (std::find(plan.order.begin(), plan.order.end(), name) == plan.order.end()) add(name);
        for (auto& [file, variables] : by_file) {
            if (file == references_file)
                std::sort(variables.begin(), variables.end(), [](const auto& a, const auto& b) {
                    return std::tie(a.second.path, a.first) < std::tie(b.second.path, b.first);
                });
            files.push_back({fmt::format("{}/{}", env_folder, file), env_file(variables),
                             plan.wiring == Wiring::exec ? "0444" : "0400"});
        }
    }
    for (const RenderedFile& file : plan.files)
        files.push_back({fmt::format("{}/{}", files_folder, file.path), file.contents, file.permissions});
    return files;
}

bool uses_env(const Plan& plan) {
    return plan.wiring != Wiring::file && !plan.variables.empty();
}
bool uses_files(const Plan& plan) {
    return !plan.files.empty() || plan.wiring == Wiring::file;
}
bool has_ca(const Plan& plan) {
    return !plan.vault.ca.empty() || !plan.ca_secret.empty();
}

// Vault Agent's configuration: https://developer.hashicorp.com/vault/docs/agent-and-proxy/agent
std::string agent_config(const Plan& plan, const std::vector<Rendered>& files) {
    std::string out;
    out.reserve(3 << 10);
    Writer w(out);
    w.object();
    // `method` is a list: blocks, as HCL has them; an object would read as several.
    w.key("auto_auth")
        .object()
        .key("method")
        .array()
        .object()
        .member("type", plan.login.type)
        .member("mount_path", plan.login.path);
    w.key("config").object();
    if (plan.login.type == "kubernetes") {
        w.member("role", plan.login.role).member("token_path", token_file);
    } else {
        w.member("role_id_file_path", role_id_file).member("secret_id_file_path", secret_id_file);
        // The Secret is read-only; with the default every login logs an error.
        w.key("remove_secret_id_file_after_reading").boolean(false);
    }
    w.end_object().end_object().end_array().end_object();

    w.key("vault").object().member("address", plan.vault.address);
    if (has_ca(plan)) w.member("ca_cert", ca_file);
    if (!plan.vault.tls_server_name.empty()) w.member("tls_server_name", plan.vault.tls_server_name);
    w.end_object();

    // An agent that gives up when Vault is away would make the pod un-ready: a native sidecar counts. One
    // that only starts the pod has no other way to say what is wrong than to end.
    w.key("template_config")
        .object()
        .key("exit_on_retry_failure")
        .boolean(plan.agent == AgentMode::init)
        .end_object();
    w.key("template").array();
    for (const Rendered& file : files) {
        w.object()
            .member("destination", file.destination)
            .member("contents", file.contents)
            .member("perms", file.permissions);
        w.key("error_on_missing_key").boolean(true).end_object();
    }
    w.end_array();
    // The startup probe shows the log's last error; it is kept small, since it rests in memory.
    w.member("log_level", plan.log_level).member("log_file", agent_log);
    w.key("log_rotate_bytes").number(1048576).key("log_rotate_max_files").number(1);
    w.end_object();
    return out;
}

// Pod Security `restricted`: https://kubernetes.io/docs/concepts/security/pod-security-standards/
void security_context(Writer& w, const Plan& plan) {
    w.key("securityContext").object();
    w.key("capabilities").raw(R"({"drop":["ALL"]})");
    w.key("runAsUser")
        .number(plan.user)
        .key("runAsGroup")
        .number(plan.group)
        .key("runAsNonRoot")
        .boolean(true);
    w.key("readOnlyRootFilesystem").boolean(true).key("allowPrivilegeEscalation").boolean(false);
    w.key("seccompProfile").raw(R"({"type":"RuntimeDefault"})").end_object();
}

void resources(Writer& w, std::string_view cpu_request, std::string_view cpu_limit,
               std::string_view memory_request, std::string_view memory_limit) {
    auto add = [&](std::string_view member, std::string_view cpu, std::string_view memory) {
        if (cpu == "none" && memory == "none") return;
        w.key(member).object();
        if (cpu != "none") w.member("cpu", cpu);
        if (memory != "none") w.member("memory", memory);
        w.end_object();
    };
    w.key("resources").object();
    add("limits", cpu_limit, memory_limit);
    add("requests", cpu_request, memory_request);
    w.end_object();
}

void writable(Writer& w, std::string_view volume, std::string_view path) {
    w.object().member("name", volume).member("mountPath", path).end_object();
}

void read_only(Writer& w, std::string_view volume, std::string_view path) {
    w.object().member("name", volume).key("readOnly").boolean(true).member("mountPath", path).end_object();
}

// Opens a container with what all of ours have in common.
void container(Writer& w, const Plan& plan, std::string_view name, std::string_view image) {
    w.object().member("name", name).member("image", image).member("imagePullPolicy", "IfNotPresent");
    security_context(w, plan);
    w.member("terminationMessagePath", "/dev/termination-log")
        .member("terminationMessagePolicy", "FallbackToLogsOnError");
}

void launcher_container(Writer& w, const Plan& plan, std::string_view name, const Settings& settings) {
    container(w, plan, name, settings.image);
    resources(w, "10m", "100m", "8Mi", "32Mi");
}

enum class Stay { beside_the_application, until_rendered };

void agent(Writer& w, const Plan& plan, std::string_view name, Stay stay) {
    container(w, plan, name, plan.agent_image);
    w.key("command").array().text(plan.flavor).text("agent").text(fmt::format("-config={}", config_file));
    if (stay == Stay::until_rendered) w.text("-exit-after-auth");
    w.end_array();
    w.key("env").array().object().member("name", "HOME").member("value", home_folder).end_object();
    if (!plan.vault.vault_namespace.empty())
        w.object().member("name", "VAULT_NAMESPACE").member("value", plan.vault.vault_namespace).end_object();
    w.end_array();
    w.key("volumeMounts").array();
    read_only(w, bin_volume, bin_folder);
    read_only(w, config_volume, config_folder);
    writable(w, home_volume, home_folder);
    if (uses_env(plan)) writable(w, env_volume, env_folder);
    if (uses_files(plan)) writable(w, files_volume, files_folder);
    w.end_array();
    resources(w, plan.cpu_request, plan.cpu_limit, plan.memory_request, plan.memory_limit);
}

void startup_probe(Writer& w, const std::vector<Rendered>& files) {
    w.key("startupProbe").object().key("exec").object().key("command").array().text(launcher).text("probe");
    for (const Rendered& file : files) w.text(file.destination);
    w.text(agent_log).end_array().end_object();
    w.key("timeoutSeconds").number(5).key("periodSeconds").number(1).key("successThreshold").number(1);
    w.key("failureThreshold").number(600).end_object();  // ten minutes, then kubelet starts the agent anew
}

void memory_volume(Writer& w, std::string_view name, std::string_view size) {
    w.object()
        .member("name", name)
        .key("emptyDir")
        .object()
        .member("medium", "Memory")
        .member("sizeLimit", size)
        .end_object()
        .end_object();
}

// One projected volume holds all that the agent reads: its configuration and CA out of the pod's own
// annotations (downward API), and what it logs in with.
void config_volume_of(Writer& w, const Plan& plan) {
    w.object().member("name", config_volume).key("projected").object().key("sources").array();
    auto item = [&](std::string_view path, std::string_view annotation) {
        w.object().member("path", path).key("fieldRef").object().member("apiVersion", "v1");
        w.member("fieldPath", fmt::format("metadata.annotations['{}{}']", annotation_prefix, annotation))
            .end_object()
            .end_object();
    };
    w.object().key("downwardAPI").object().key("items").array();
    item("agent.json", "agent-config");
    if (!plan.vault.ca.empty()) item("ca.crt", "vault-ca");
    w.end_array().end_object().end_object();

    auto secret = [&](std::string_view name, std::initializer_list<std::string_view> keys) {
        w.object().key("secret").object().member("name", name).key("items").array();
        for (const std::string_view key : keys)
            w.object().member("key", key).member("path", key).end_object();
        w.end_array().end_object().end_object();
    };
    if (!plan.ca_secret.empty()) secret(plan.ca_secret, {"ca.crt"});
    if (plan.login.type == "kubernetes") {
        w.object().key("serviceAccountToken").object().member("audience", plan.login.audience);
        w.key("expirationSeconds").number(3600).member("path", "token").end_object().end_object();
    } else {
        secret(plan.login.secret, {"role_id", "secret_id"});
    }
    w.end_array().key("defaultMode").number(0444).end_object().end_object();
}

// Begins one part and gives the writer of its text.
class Parts {
public:
    explicit Parts(std::vector<Part>& list) : list_(list) {}
    template <class Write>
    void add(std::string_view name, Write&& write) {
        Part& part = list_.emplace_back(Part{std::string(name), {}});
        part.json.reserve(1 << 10);
        Writer w(part.json);
        write(w);
    }

private:
    std::vector<Part>& list_;
};

}  // namespace

std::string mount(std::string_view volume, std::string_view path) {
    std::string out;
    Writer w(out);
    read_only(w, volume, path);
    return out;
}

std::string env_entry(const Plan& plan, const std::string& variable) {
    std::string out;
    Writer w(out);
    const Carried& carried = plan.variables.at(variable);
    w.object();
    switch (plan.wiring) {
        case Wiring::file:
            w.member("name", variable + "_FILE")
                .member("value", fmt::format("{}/{}", files_folder, variable));
            break;
        case Wiring::exec:  // the launcher puts the value in its place
            w.member("name", variable)
                .member("value", fmt::format("vault:{}#{}", carried.reference.path, carried.reference.key));
            break;
        default:
            w.member("name", variable)
                .key("valueFrom")
                .object()
                .key("fileKeyRef")
                .object()
                .member("volumeName", env_volume);
            w.member("path", carried.file)
                .member("key", variable)
                .key("optional")
                .boolean(false)
                .end_object()
                .end_object();
    }
    w.end_object();
    return out;
}

PodParts parts_of(const Plan& plan, const Settings& settings) {
    PodParts parts;
    const std::vector<Rendered> files = rendered_files(plan);
    Parts init(parts.init_containers);
    init.add(install_container, [&](Writer& w) {
        launcher_container(w, plan, install_container, settings);
        w.key("command").array().text(launcher_in_image).text("install").text(bin_folder).end_array();
        w.key("volumeMounts").array();
        writable(w, bin_volume, bin_folder);
        w.end_array().end_object();
    });
    if (plan.agent == AgentMode::sidecar && plan.native_sidecar) {
        init.add(agent_container, [&](Writer& w) {
            agent(w, plan, agent_container, Stay::beside_the_application);
            w.member("restartPolicy", "Always");
            startup_probe(w, files);
            w.end_object();
        });
    } else {
        const std::string_view first =
            plan.agent == AgentMode::init ? agent_container : first_render_container;
        init.add(first, [&](Writer& w) {
            agent(w, plan, first, Stay::until_rendered);
            w.end_object();
        });
        if (plan.agent == AgentMode::sidecar)
            Parts(parts.containers).add(agent_container, [&](Writer& w) {
                agent(w, plan, agent_container, Stay::beside_the_application);
                w.end_object();
            });
    }
    if (plan.wiring == Wiring::envfile && uses_env(plan))
        init.add(check_container, [&](Writer& w) {
            launcher_container(w, plan, check_container, settings);
            w.key("command").array().text(launcher_in_image).text("check");
            for (const auto& [name, carried] : plan.variables) w.text(name);
            w.end_array().key("env").array();
            for (const auto& [name, carried] : plan.variables) w.raw(env_entry(plan, name));
            w.end_array().end_object();
        });

    Parts volumes(parts.volumes);
    volumes.add(bin_volume, [&](Writer& w) {
        w.object()
            .member("name", bin_volume)
            .key("emptyDir")
            .object()
            .member("sizeLimit", "4Mi")
            .end_object()
            .end_object();
    });
    volumes.add(config_volume, [&](Writer& w) { config_volume_of(w, plan); });
    volumes.add(home_volume, [&](Writer& w) { memory_volume(w, home_volume, "16Mi"); });
    if (uses_env(plan)) volumes.add(env_volume, [&](Writer& w) { memory_volume(w, env_volume, "1Mi"); });
    if (uses_files(plan))
        volumes.add(files_volume, [&](Writer& w) { memory_volume(w, files_volume, "4Mi"); });

    parts.agent_config = agent_config(plan, files);
    parts.vault_ca = plan.vault.ca;
    return parts;
}

}  // namespace keyshepherd::inject
