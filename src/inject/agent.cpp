#include "agent.hpp"

#include "layout.hpp"

#include <keyshepherd/json/writer.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace keyshepherd::inject {

namespace {

using json::Plain;
using json::Text;
using json::write;

// How a template reads fields of a kv-v2 secret and of any other alike.
constexpr std::string_view fields_of_secret =
    R"({{ $d := .Data }}{{ if and (index .Data "data") (index .Data "metadata") }}{{ $d = index .Data "data" }}{{ end }})";

// One env file in kubelet's grammar (pkg/kubelet/util/env): NAME='value', no quote inside a value, a line
// below 64 KiB, CR is lost. What it cannot carry stops the rendering with a message that the startup probe
// shows.
std::string env_file(const std::vector<std::pair<std::string_view, const Reference*>>& variables) {
    std::string out;
    out.reserve(variables.size() << 10);
    std::string_view open;
    for (const auto& [name, reference] : variables) {
        const std::string_view key = reference->key, path = reference->path;
        if (open != path) {
            if (!open.empty()) write(out, "{{ end }}");
            write(out, "{{ with secret \"", path, "\" }}", fields_of_secret);
            open = path;
        }
        write(
            out, "{{ if not (index $d \"", key, "\") }}{{ sprig_fail \"keyshepherd: the field ", key,
            " is missing or empty at ", path, "\" }}{{ end }}{{ $v := printf \"%v\" (index $d \"", key,
            R"(") }}{{ if or (regexMatch "['\r\x00]" $v) (gt (len $v) 60000) }}{{ sprig_fail "keyshepherd: the field )",
            key, " at ", path,
            R"( has a quote ('), a carriage return or a NUL, or is longer than 60000 bytes: wiring file can carry it" }}{{ end }})",
            name, "='{{ $v }}'\n");
    }
    write(out, "{{ end }}");
    return out;
}

// The bare value, with nothing behind it.
std::string value_file(const Reference& reference) {
    const std::string_view key = reference.key, path = reference.path;
    std::string out;
    write(out, "{{ with secret \"", path, "\" }}", fields_of_secret, "{{ if not (index $d \"", key,
          "\") }}{{ sprig_fail \"keyshepherd: the field ", key, " is missing or empty at ", path,
          "\" }}{{ end }}{{ index $d \"", key, "\" }}{{ end }}");
    return out;
}

struct Rendered {
    std::string destination, contents, permissions;
};

// The env files of these variables below `folder`: one for each provider, the key first, and one for
// references.
void add_env_files(std::vector<Rendered>& files, const Plan& plan, std::string_view folder,
                   const std::vector<std::string>& variables, std::string_view permissions) {
    std::map<std::string_view, std::vector<std::pair<std::string_view, const Reference*>>> by_file;
    for (const std::string& name : variables)
        if (const auto carried = plan.variables.find(name); carried != plan.variables.end())
            by_file[carried->second.file].emplace_back(name, &carried->second.reference);
    for (auto& [file, carried] : by_file) {
        if (file == references_file)
            std::sort(carried.begin(), carried.end(), [](const auto& a, const auto& b) {
                return std::tie(a.second->path, a.first) < std::tie(b.second->path, b.first);
            });
        files.push_back({fmt::format("{}/{}", folder, file), env_file(carried), std::string(permissions)});
    }
}

std::vector<Rendered> rendered_files(const Plan& plan) {
    std::vector<Rendered> files;
    if (plan.wiring == Wiring::envfile) {           // no container mounts these: kubelet reads them
        std::vector<std::string> all = plan.order;  // the provider's order: the key first
        const std::set<std::string_view> ordered(plan.order.begin(), plan.order.end());
        for (const auto& [name, carried] : plan.variables)
            if (!ordered.contains(name)) all.push_back(name);
        add_env_files(files, plan, env_folder, all, "0400");
    }
    for (const Folder& folder : plan.env_folders)
        add_env_files(files, plan, fmt::format("{}/{}", env_folder, folder.name), folder.variables, "0444");
    for (const Folder& folder : plan.files_folders) {
        const std::string below = fmt::format("{}/{}", files_folder, folder.name);
        for (const std::string& name : folder.variables)
            files.push_back(
                {fmt::format("{}/{}", below, name), value_file(plan.variables.at(name).reference), "0444"});
        if (!folder.extra_files) continue;
        for (const RenderedFile& file : plan.files)
            files.push_back({fmt::format("{}/{}", below, file.path), file.contents, file.permissions});
    }
    return files;
}

bool uses_env(const Plan& plan) {
    return plan.wiring != Wiring::file && !plan.variables.empty();
}
bool uses_files(const Plan& plan) {
    return !plan.files_folders.empty();
}
bool has_ca(const Plan& plan) {
    return !plan.vault.ca.empty() || !plan.ca_secret.empty();
}

// Vault Agent's configuration: https://developer.hashicorp.com/vault/docs/agent-and-proxy/agent
std::string agent_config(const Plan& plan, const std::vector<Rendered>& files) {
    std::string out;
    out.reserve(16 << 10);
    // `method` is a list: blocks, as HCL has them; an object would read as several.
    write(out, R"({"auto_auth":{"method":[{"type":)", Text{plan.login.type}, R"(,"mount_path":)",
          Text{plan.login.path}, R"(,"config":{)");
    if (plan.login.type == "kubernetes") {
        write(out, R"("role":)", Text{plan.login.role}, R"(,"token_path":)", Plain{token_file});
    } else {
        // The Secret is read-only; with the default every login logs an error.
        write(out, R"("role_id_file_path":)", Plain{role_id_file}, R"(,"secret_id_file_path":)",
              Plain{secret_id_file}, R"(,"remove_secret_id_file_after_reading":false)");
    }
    write(out, R"(}}]},"vault":{"address":)", Text{plan.vault.address});
    if (has_ca(plan)) write(out, R"(,"ca_cert":)", Plain{ca_file});
    if (!plan.vault.tls_server_name.empty())
        write(out, R"(,"tls_server_name":)", Text{plan.vault.tls_server_name});

    // An agent that gives up when Vault is away would make the pod un-ready: a native sidecar counts. One
    // that only starts the pod has no other way to say what is wrong than to end.
    write(out, R"(},"template_config":{"exit_on_retry_failure":)", plan.agent == AgentMode::init,
          R"(},"template":[)");
    std::string_view comma;
    for (const Rendered& file : files) {
        write(out, comma, R"({"destination":)", Text{file.destination}, R"(,"contents":)",
              Text{file.contents}, R"(,"perms":)", Text{file.permissions},
              R"(,"error_on_missing_key":true})");
        comma = ",";
    }
    // The startup probe shows the log's last error; it is kept small, since it rests in memory.
    write(out, R"(],"log_level":)", Text{plan.log_level}, R"(,"log_file":)", Plain{agent_log},
          R"(,"log_rotate_bytes":1048576,"log_rotate_max_files":1})");
    return out;
}

void resources(std::string& out, std::string_view cpu_request, std::string_view cpu_limit,
               std::string_view memory_request, std::string_view memory_limit) {
    auto add = [&](std::string_view member, std::string_view cpu, std::string_view memory) {
        write(out, member, R"(:{)");
        if (cpu != "none") write(out, R"("cpu":)", Text{cpu});
        if (cpu != "none" && memory != "none") write(out, ",");
        if (memory != "none") write(out, R"("memory":)", Text{memory});
        write(out, "}");
    };
    const bool limits = cpu_limit != "none" || memory_limit != "none";
    const bool requests = cpu_request != "none" || memory_request != "none";
    write(out, R"(,"resources":{)");
    if (limits) add(R"("limits")", cpu_limit, memory_limit);
    if (limits && requests) write(out, ",");
    if (requests) add(R"("requests")", cpu_request, memory_request);
    write(out, "}");
}

void writable(std::string& out, std::string_view volume, std::string_view path) {
    write(out, R"({"name":)", Plain{volume}, R"(,"mountPath":)", Plain{path}, "}");
}

void read_only(std::string& out, std::string_view volume, std::string_view path,
               std::string_view folder = "") {
    write(out, R"({"name":)", Plain{volume}, R"(,"readOnly":true,"mountPath":)", Plain{path});
    if (!folder.empty()) write(out, R"(,"subPath":)", Plain{folder});
    write(out, "}");
}

// Opens a container with what all of ours have in common. Pod Security `restricted`:
// https://kubernetes.io/docs/concepts/security/pod-security-standards/
void container(std::string& out, const Plan& plan, std::string_view name, std::string_view image) {
    write(
        out, R"({"name":)", Plain{name}, R"(,"image":)", Text{image},
        R"(,"imagePullPolicy":"IfNotPresent","securityContext":{"capabilities":{"drop":["ALL"]},"runAsUser":)",
        plan.user, R"(,"runAsGroup":)", plan.group,
        R"(,"runAsNonRoot":true,"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false,)"
        R"("seccompProfile":{"type":"RuntimeDefault"}},"terminationMessagePath":"/dev/termination-log",)"
        R"("terminationMessagePolicy":"FallbackToLogsOnError")");
}

// Opens one that runs the launcher's `command`.
void launcher_container(std::string& out, const Plan& plan, std::string_view name, const Settings& settings,
                        std::string_view command) {
    container(out, plan, name, settings.image);
    resources(out, "10m", "100m", "8Mi", "32Mi");
    write(out, R"(,"command":[)", Plain{launcher_in_image}, ",", Plain{command});
}

enum class Stay { beside_the_application, until_rendered };

void agent(std::string& out, const Plan& plan, std::string_view name, Stay stay) {
    container(out, plan, name, plan.agent_image);
    write(out, R"(,"command":[)", Text{plan.flavor}, R"(,"agent","-config=)", config_file, "\"");
    if (stay == Stay::until_rendered) write(out, R"(,"-exit-after-auth")");
    write(out, R"(],"env":[{"name":"HOME","value":)", Plain{home_folder}, "}");
    if (!plan.vault.vault_namespace.empty())
        write(out, R"(,{"name":"VAULT_NAMESPACE","value":)", Text{plan.vault.vault_namespace}, "}");
    write(out, R"(],"volumeMounts":[)");
    read_only(out, bin_volume, bin_folder);
    write(out, ",");
    read_only(out, config_volume, config_folder);
    write(out, ",");
    writable(out, home_volume, home_folder);
    if (uses_env(plan)) {
        write(out, ",");
        writable(out, env_volume, env_folder);
    }
    if (uses_files(plan)) {
        write(out, ",");
        writable(out, files_volume, files_folder);
    }
    write(out, "]");
    resources(out, plan.cpu_request, plan.cpu_limit, plan.memory_request, plan.memory_limit);
}

void startup_probe(std::string& out, const std::vector<Rendered>& files) {
    write(out, R"(,"startupProbe":{"exec":{"command":[)", Plain{launcher}, R"(,"probe")");
    for (const Rendered& file : files) write(out, ",", Text{file.destination});
    // 600 times a second: ten minutes, then kubelet starts the agent anew.
    write(out, ",", Plain{agent_log},
          R"(]},"timeoutSeconds":5,"periodSeconds":1,"successThreshold":1,"failureThreshold":600})");
}

std::string memory_volume(std::string_view name, std::size_t mebibytes) {
    std::string out;
    write(out, R"({"name":)", Plain{name}, R"(,"emptyDir":{"medium":"Memory","sizeLimit":")", mebibytes,
          R"(Mi"}})");
    return out;
}

// One projected volume holds all that the agent reads: its configuration and CA out of the pod's own
// annotations (downward API), and what it logs in with.
std::string config_volume_of(const Plan& plan) {
    std::string out;
    out.reserve(1 << 10);
    auto item = [&](std::string_view path, std::string_view annotation) {
        write(out, R"({"path":)", Plain{path},
              R"(,"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.annotations[')", annotation_prefix,
              annotation, R"(']"}})");
    };
    auto secret = [&](std::string_view name, std::initializer_list<std::string_view> keys) {
        write(out, R"(,{"secret":{"name":)", Text{name}, R"(,"items":[)");
        std::string_view comma;
        for (const std::string_view key : keys) {
            write(out, comma, R"({"key":)", Plain{key}, R"(,"path":)", Plain{key}, "}");
            comma = ",";
        }
        write(out, "]}}");
    };
    write(out, R"({"name":)", Plain{config_volume}, R"(,"projected":{"sources":[{"downwardAPI":{"items":[)");
    item("agent.json", "agent-config");
    if (!plan.vault.ca.empty()) {
        write(out, ",");
        item("ca.crt", "vault-ca");
    }
    write(out, "]}}");
    if (!plan.ca_secret.empty()) secret(plan.ca_secret, {"ca.crt"});
    if (plan.login.type == "kubernetes") {
        write(out, R"(,{"serviceAccountToken":{"audience":)", Text{plan.login.audience},
              R"(,"expirationSeconds":3600,"path":"token"}})");
    } else {
        secret(plan.login.secret, {"role_id", "secret_id"});
    }
    constexpr int mode = 0444;
    write(out, R"(],"defaultMode":)", mode, "}}");
    return out;
}

// Adds one part and gives its text, to be written.
std::string& add(std::vector<Part>& list, std::string_view name) {
    Part& part = list.emplace_back(name);
    part.json.reserve(2 << 10);
    return part.json;
}

}  // namespace

std::string mount(std::string_view volume, std::string_view path, std::string_view folder) {
    std::string out;
    read_only(out, volume, path, folder);
    return out;
}

std::string env_entry(const Plan& plan, const std::string& variable) {
    std::string out;
    const Carried& carried = plan.variables.at(variable);
    const json::Inside name{variable};
    switch (plan.wiring) {
        case Wiring::file:
            write(out, R"({"name":")", name, R"(_FILE","value":")", files_folder, "/", name, R"("})");
            break;
        case Wiring::secret:
            write(out, R"({"name":")", name, R"(","valueFrom":{"secretKeyRef":{"name":")",
                  json::Inside{carried.secret}, R"(","key":")", name, R"("}}})");
            break;
        case Wiring::exec:  // the launcher puts the value in its place
            write(out, R"({"name":")", name, R"(","value":")", placeholder_scheme,
                  json::Inside{carried.reference.path}, "#", json::Inside{carried.reference.key}, R"("})");
            break;
        default:
            write(out, R"({"name":")", name, R"(","valueFrom":{"fileKeyRef":{"volumeName":)",
                  Plain{env_volume}, R"(,"path":)", Text{carried.file}, R"(,"key":")", name,
                  R"(","optional":false}}})");
    }
    return out;
}

PodParts parts_of(const Plan& plan, const Settings& settings) {
    PodParts parts;
    if (plan.agent == AgentMode::none) return parts;
    parts.init_containers.reserve(3);
    parts.volumes.reserve(5);
    const std::vector<Rendered> files = rendered_files(plan);
    {
        std::string& out = add(parts.init_containers, install_container);
        launcher_container(out, plan, install_container, settings, "install");
        write(out, ",", Plain{bin_folder}, R"(],"volumeMounts":[)");
        writable(out, bin_volume, bin_folder);
        write(out, "]}");
    }
    if (plan.agent == AgentMode::sidecar && plan.native_sidecar) {
        std::string& out = add(parts.init_containers, agent_container);
        agent(out, plan, agent_container, Stay::beside_the_application);
        write(out, R"(,"restartPolicy":"Always")");
        startup_probe(out, files);
        write(out, "}");
    } else {
        const std::string_view first =
            plan.agent == AgentMode::init ? agent_container : first_render_container;
        std::string& out = add(parts.init_containers, first);
        agent(out, plan, first, Stay::until_rendered);
        write(out, "}");
        if (plan.agent == AgentMode::sidecar) {
            std::string& beside = add(parts.containers, agent_container);
            agent(beside, plan, agent_container, Stay::beside_the_application);
            write(beside, "}");
        }
    }
    if (plan.wiring == Wiring::envfile && uses_env(plan)) {
        std::string& out = add(parts.init_containers, check_container);
        launcher_container(out, plan, check_container, settings, "check");
        for (const auto& [name, carried] : plan.variables) write(out, ",", Text{name});
        write(out, R"(],"env":[)");
        std::string_view comma;
        for (const auto& [name, carried] : plan.variables) {
            write(out, comma, env_entry(plan, name));
            comma = ",";
        }
        write(out, "]}");
    }

    auto volume = [&](std::string_view name, std::string json) {
        parts.volumes.push_back({name, std::move(json)});
    };
    std::string bin;
    write(bin, R"({"name":)", Plain{bin_volume}, R"(,"emptyDir":{"sizeLimit":"4Mi"}})");
    volume(bin_volume, std::move(bin));
    volume(config_volume, config_volume_of(plan));
    volume(home_volume, memory_volume(home_volume, 16));
    if (uses_env(plan))
        volume(env_volume, memory_volume(env_volume, std::max<std::size_t>(1, plan.env_folders.size())));
    if (uses_files(plan)) volume(files_volume, memory_volume(files_volume, 4 * plan.files_folders.size()));

    parts.agent_config = agent_config(plan, files);
    parts.vault_ca = plan.vault.ca;
    return parts;
}

}  // namespace keyshepherd::inject
