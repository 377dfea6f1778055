#include "support/workload_generator.hpp"

#include "support/providers.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <stdexcept>

namespace keyshepherd::generate {

namespace {

using Json = nlohmann::ordered_json;

// A number with its spelling, see unquote_numbers().
Json spelled(std::string_view number) {
    return fmt::format("\x01{}", number);
}

constexpr std::array odd_numbers = {std::string_view("9007199254740993"),
                                    std::string_view("18446744073709551615"),
                                    std::string_view("-9223372036854775808"),
                                    std::string_view("1.10"),
                                    std::string_view("1E-7"),
                                    std::string_view("-0.0"),
                                    std::string_view("1e300"),
                                    std::string_view("18446744073709551616")};

constexpr std::string_view names_of_features = R"(
    kind=Deployment kind=other namespace=plain namespace=own namespace=staging
    containers=1 containers=2 containers=3 containers=4 containers=5 containers=none
    init=0 init=1 init=2 init=3 init-restart-always
    initContainers=absent initContainers=null initContainers=empty initContainers=some
    volumes=absent volumes=null volumes=empty volumes=some
    env=absent env=null env=empty env=some
    volumeMounts=absent volumeMounts=null volumeMounts=empty volumeMounts=some
    metadata=absent metadata=null metadata=empty metadata=some
    annotations=absent annotations=null annotations=empty annotations=some
    workload-annotations=absent workload-annotations=null workload-annotations=some
    asked=workload asked=template asked=both asked=contradicting asked=not
    inject=true inject=parsebool inject=names inject=false inject=bad inject=unknown-provider inject=two inject=twin
    inject=two-vaults
    wiring=default wiring=auto wiring=envfile wiring=exec wiring=file wiring=secret wiring=bad
    agent=default agent=sidecar agent=init agent=none
    on-rotate=default on-rotate=rollout on-rotate=none on-rotate=restart on-rotate=signal on-rotate=bad
    on-conflict=default on-conflict=keep on-conflict=replace on-conflict=deny
    entry=literal entry=valueFrom entry=both entry=reference entry=other-reference entry=bad-reference entry=duplicate
    entry=expansion entry=odd-member entry=file-variable entry=not-a-reference envFrom
    command=absent command=null command=empty command=one command=shell args
    entrypoint entrypoint-bad entrypoint-stranger
    containers-annotation containers-annotation-unknown init-containers-annotation
    env-annotation env-annotation-of-provider env-annotation-bad
    secret-file secret-file-field template-file perms-file perms-file-bad
    login=role login=approle login=approle-without-secret login=audience login=auth-path login=ca-secret
    login=address-allowed login=address-refused login=namespace login=tls-server-name
    agent-resources agent-resources-none agent-resources-bad agent-resources-request-above-limit
    run-as run-as-root agent-flavor agent-image log-level
    spec-annotation spec-annotation-bad unknown-annotation annotation-of-no-text annotations-too-large
    other-injector windows
    collision=volume collision=container collision=mount
    strange@workload strange@metadata strange@spec strange@template strange@template-metadata strange@pod strange@container
    strange@env strange@volume
    number=9007199254740993 number=18446744073709551615 number=-9223372036854775808 number=1.10 number=1E-7 number=-0.0
    number=1e300 number=18446744073709551616
    deep odd-member-name odd-text
    canary=env canary=args canary=strange canary=annotation canary=foreign-annotation
    server=1.27 server=1.28 server=1.29 server=1.30 server=1.31 server=1.32 server=1.33 server=1.34 server=1.35 server=1.36
    server=1.37
    kubelet=1.27 kubelet=1.28 kubelet=1.29 kubelet=1.30 kubelet=1.31 kubelet=1.32 kubelet=1.33 kubelet=1.34 kubelet=1.35
    kubelet=1.36 kubelet=1.37 kubelet-behind-server
)";

class Maker {
public:
    explicit Maker(Random& random) : random_(random) {}

    Workload make() {
        faulty_ = random_.chance(25);
        versions();
        w_.kind = random_.chance(3) ? "ReplicaSet" : "Deployment";
        note(w_.kind == "Deployment" ? "kind=Deployment" : "kind=other");
        w_.workload_namespace = random_.chance(2) ? "kube-system" : random_.chance(20) ? "staging" : "shop";
        note(w_.workload_namespace == "shop"      ? "namespace=plain"
             : w_.workload_namespace == "staging" ? "namespace=staging"
                                                  : "namespace=own");
        Json pod = make_pod();
        annotations();
        if (!faulty_ && random_.chance(12)) by_secret();
        w_.object = unquote_numbers(assemble(std::move(pod)).dump());
        return std::move(w_);
    }

private:
    void note(const std::string& feature) {
        if (!WorkloadGenerator::features().contains(feature))
            throw std::logic_error("no such feature: " + feature);
        w_.features.insert(feature);
    }
    // One of `choices` that is noted as "<feature>=<choice>".
    template <class List>
    std::string choose(std::string_view feature, const List& choices) {
        const std::string choice(random_.pick(choices));
        note(fmt::format("{}={}", feature, choice));
        return choice;
    }

    void versions() {
        const int server = 27 + static_cast<int>(random_.below(11));
        int kubelet = server;
        if (random_.chance(40)) kubelet = std::max(27, server - 1 - static_cast<int>(random_.below(3)));
        note(fmt::format("server=1.{}", server));
        note(fmt::format("kubelet=1.{}", kubelet));
        if (kubelet < server) note("kubelet-behind-server");
        w_.settings.kubernetes = {1, server};
        w_.settings.lowest_kubelet = {1, kubelet};
        w_.settings.allowed_vault_addresses = {"https://allowed.example:8200",
                                               "https://*.vaults.example:8200"};
        if (random_.chance(30)) w_.settings.agent_flavor = "vault";
    }

    Json odd_value() {
        switch (random_.below(7)) {
            case 0:
            case 1: {
                const std::string_view number = random_.pick(odd_numbers);
                note(fmt::format("number={}", number));
                return spelled(number);
            }
            case 2: {
                note("deep");
                Json deep = random_.chance(50) ? Json::array() : Json::object();
                for (std::size_t i = 10 + random_.below(30); i > 0; --i)
                    deep = random_.chance(50) ? Json::array({deep}) : Json({{"d", deep}});
                return deep;
            }
            case 3:
                note("odd-text");
                return random_.pick(std::array{"", "é\u2028\U0001F511", "a\"b\\c/d~e", "tab\there",
                                               "{{ .x }} $(HOLYSHEEP_API_KEY)"});
            case 4:
                note("canary=strange");
                return Json({{"token", canary}});
            case 5:
                return random_.chance(50) ? Json(nullptr) : Json::object();
            default:
                return Json::array({1, true, nullptr, Json::array(), "x"});
        }
    }

    // Members that no schema of today knows.
    void strange(Json& object, std::string_view level, unsigned percent = 8) {
        if (!random_.chance(percent)) return;
        note(fmt::format("strange@{}", level));
        if (random_.chance(30)) {
            note("odd-member-name");
            object[random_.pick(std::array{"a/b~c", "~1", "", "ключ", "a b"})] = odd_value();
        }
        object["futureField"] = odd_value();
    }

    // A list that may also be absent, null or empty.
    void put_list(Json& object, const std::string& member, Json list) {
        std::string how = "some";
        if (list.empty()) how = random_.pick(std::array{"absent", "absent", "null", "empty"});
        note(fmt::format("{}={}", member, how));
        if (how != "absent") object[member] = how == "null" ? Json(nullptr) : std::move(list);
    }

    Json literal(const std::string& name) {
        const bool secret = random_.chance(70);
        if (secret) note("canary=env");
        return {{"name", name}, {"value", secret ? std::string(canary) : "plain"}};
    }

    Json secret_entry(const std::string& name) {
        return {{"name", name}, {"valueFrom", {{"secretKeyRef", {{"name", "s"}, {"key", "k"}}}}}};
    }

    // What may stand in the way of a variable of ours, or ask for it.
    void our_entries(Json& env) {
        const std::string name = random_.pick(
            std::array{"HOLYSHEEP_API_KEY", "HOLYSHEEP_API_KEY", "HOLYSHEEP_BASE_URL", "OPENROAD_TOKEN"});
        switch (random_.below(faulty_ ? 11 : 8)) {
            case 0:
                note("entry=literal");
                env.push_back(literal(name));
                break;
            case 1:
                note("entry=valueFrom");
                env.push_back(secret_entry(name));
                break;
            case 2: {
                note("entry=both");  // what a merge makes; the API server refuses it only behind the webhook
                Json entry = literal(name);
                entry["valueFrom"] = secret_entry(name)["valueFrom"];
                env.push_back(std::move(entry));
                break;
            }
            case 3:
                note("entry=reference");
                env.push_back(
                    {{"name", "HOLYSHEEP_API_KEY"}, {"value", "vault:ai-apis/data/holysheep#api_key"}});
                break;
            case 4:
                note("entry=other-reference");
                env.push_back({{"name", random_.chance(50) ? "HOLYSHEEP_API_KEY" : "DB_PASSWORD"},
                               {"value", "vault:db/data/shop team#pass word"}});
                break;
            case 5:
                note("entry=expansion");
                env.push_back({{"name", "URL"}, {"value", "https://x/$(HOLYSHEEP_API_KEY)"}});
                break;
            case 6:
                note("entry=file-variable");
                env.push_back(literal("HOLYSHEEP_API_KEY_FILE"));
                break;
            case 7:
                note("entry=not-a-reference");
                env.push_back({{"name", "CACHE"},
                               {"value", random_.chance(50) ? "vault:8200" : "vault://host/path#x"}});
                break;
            case 8:
                note("entry=bad-reference");
                env.push_back({{"name", random_.chance(50) ? "HOLYSHEEP_API_KEY" : "my.key"},
                               {"value", random_.chance(50) ? "vault:a//b#c" : "vault:a/b"}});
                break;
            case 9:
                note("entry=bad-reference");
                env.push_back({{"name", "1bad"}, {"value", "vault:a/b#c"}});
                break;
            default:
                note("entry=duplicate");
                env.push_back(
                    {{"name", "HOLYSHEEP_API_KEY"}, {"value", "vault:ai-apis/data/holysheep#api_key"}});
                env.push_back(random_.chance(50) ? env.back() : literal("HOLYSHEEP_API_KEY"));
        }
        if (random_.chance(10)) {
            note("entry=odd-member");
            env.back()["futureField"] = Json::array({1, nullptr, "x"});
        }
    }

    Json container(const std::string& name) {
        Json c = {{"name", name}, {"image", fmt::format("registry.example:5000/{}:1", name)}};
        Json env = Json::array();
        for (std::size_t i = random_.below(3); i > 0; --i) {
            env.push_back(random_.chance(50) ? literal(fmt::format("PLAIN_{}", i))
                                             : secret_entry(fmt::format("OTHER_{}", i)));
            strange(env.back(), "env");
        }
        if (random_.chance(35)) our_entries(env);
        if (env.size() > 1 && random_.chance(50)) std::swap(env[0], env[env.size() - 1]);
        put_list(c, "env", std::move(env));
        if (random_.chance(10)) {
            note("envFrom");
            c["envFrom"] = {{{"secretRef", {{"name", "all"}}}}};
        }
        // Most have a command, so that exec is possible.
        const std::string how = random_.chance(70)
                                    ? (random_.chance(60) ? "one" : "shell")
                                    : random_.pick(std::array{"absent", "absent", "null", "empty"});
        note("command=" + how);
        if (how == "one") c["command"] = {"/bin/" + name};
        if (how == "shell") c["command"] = {"sh", "-c", "exec \"$0\" $(HOME) 'ü\\n'", ""};
        if (how == "null") c["command"] = nullptr;
        if (how == "empty") c["command"] = Json::array();
        if (random_.chance(30)) {
            note("args");
            c["args"] = {"--verbose"};
            if (random_.chance(30)) {
                note("canary=args");
                c["args"].push_back(canary);
            }
        }
        Json mounts = Json::array();
        for (std::size_t i = random_.below(3); i > 0; --i)
            mounts.push_back({{"name", "data"}, {"mountPath", fmt::format("/data{}", i)}});
        if (faulty_ && random_.chance(5)) {
            note("collision=mount");
            mounts.push_back({{"name", "data"}, {"mountPath", "/keyshepherd/env"}});
        }
        put_list(c, "volumeMounts", std::move(mounts));
        strange(c, "container");
        names_.push_back(name);
        return c;
    }

    Json make_pod() {
        Json pod = Json::object();
        Json init = Json::array();
        const std::size_t inits = random_.chance(50) ? 0 : 1 + random_.below(3);
        note(fmt::format("init={}", inits));
        for (std::size_t i = 0; i < inits; ++i) {
            init.push_back(container(fmt::format("init-{}", i)));
            if (random_.chance(30)) {
                note("init-restart-always");
                init.back()["restartPolicy"] = "Always";
            }
        }
        init_names_ = std::exchange(names_, {});
        put_list(pod, "initContainers", std::move(init));
        Json containers = Json::array();
        std::size_t count = random_.chance(2) ? 0 : 1 + random_.below(5);
        if (count > 2 && random_.chance(40)) count = 1;  // the most frequent workload
        note(count == 0 ? "containers=none" : fmt::format("containers={}", count));
        for (std::size_t i = 0; i < count; ++i)
            containers.push_back(container(i == 0 ? "app" : fmt::format("side-{}", i)));
        if (faulty_ && random_.chance(5)) {
            note("collision=container");
            containers.push_back({{"name", "keyshepherd-agent"}, {"image", "x"}});
        }
        pod["containers"] = random_.chance(3) && count == 0 ? Json(nullptr) : std::move(containers);
        Json volumes = Json::array();
        for (std::size_t i = random_.below(3); i > 0; --i) {
            volumes.push_back({{"name", i == 1 ? "data" : "vault-secrets"}, {"emptyDir", Json::object()}});
            strange(volumes.back(), "volume");
        }
        if (faulty_ && random_.chance(5)) {
            note("collision=volume");
            volumes.push_back({{"name", "keyshepherd-env"}, {"emptyDir", Json::object()}});
        }
        put_list(pod, "volumes", std::move(volumes));
        if (random_.chance(2)) {
            note("windows");
            if (random_.chance(50))
                pod["os"] = {{"name", "windows"}};
            else
                pod["nodeSelector"] = {{"kubernetes.io/os", "windows"}};
        }
        strange(pod, "pod");
        return pod;
    }

    void wish(const std::string& name, const std::string& value) { wishes_[name] = value; }

    // A malformed value; a person may have pasted the key itself.
    std::string bad(std::string_view plain) {
        if (!random_.chance(40)) return std::string(plain);
        note("canary=annotation");
        return fmt::format("{} {}", canary, plain);
    }

    void annotations() {
        const unsigned draw = static_cast<unsigned>(random_.below(100));
        if (draw < 45) {
            note("inject=true");
            wish("inject", "true");
        } else if (draw < 50) {
            note("inject=parsebool");
            wish("inject", random_.pick(std::array{"True", "t", "1"}));
        } else if (draw < 75) {
            note("inject=names");
            wish("inject", random_.chance(70) ? "holysheep" : "openroad");
        } else if (draw < 85) {
            note("inject=two");
            wish("inject", random_.chance(50) ? "holysheep,openroad" : " openroad , holysheep");
        } else if (draw < 88) {
            note("inject=names");
            wish("inject", "elsewhere");
        } else if (draw < 92 || !faulty_) {
            note("inject=false");
            wish("inject", random_.chance(50) ? "false" : "0");
        } else if (draw < 94) {
            note("inject=bad");
            wish("inject", bad("yes please!"));
        } else if (draw < 96) {
            note("inject=unknown-provider");
            wish("inject", "nobody");
        } else if (draw < 98) {
            note("inject=twin");
            wish("inject", "holysheep,twin");
        } else {
            note("inject=two-vaults");
            wish("inject", "holysheep,elsewhere");
        }
        how();
        login();
        agent();
        if (random_.chance(8)) {
            note("spec-annotation");
            wish(
                "spec",
                R"({"log-level": "debug", "env-A_RATHER_LONG_NAME_THAT_PASSES_THE_LIMIT_OF_SIXTY_THREE_CHARACTERS": "kv/data/a#b"})");
        } else if (faulty_ && random_.chance(5)) {
            note("spec-annotation-bad");
            wish("spec", bad("[1]"));
        }
        if (faulty_ && random_.chance(8)) {
            note("unknown-annotation");
            wish(random_.pick(std::array{"wirring", "injekt", "something-else-altogether"}), bad("x"));
        }
    }

    // Wiring secret, without whatever only an agent could bring.
    void by_secret() {
        std::erase_if(wishes_, [](const auto& each) {
            const std::string_view name = each.first;
            for (const char* kept : {"inject", "on-", "containers", "init-containers", "entrypoint-"})
                if (name.starts_with(kept)) return false;
            return true;
        });
        wish("wiring", "secret");
        note("wiring=secret");
    }

    void how() {
        const std::string wiring =
            random_.chance(30)
                ? "default"
                : random_.pick(std::array{"auto", "envfile", "exec", "exec", "exec", "file", "file"});
        std::string given = wiring;
        if (faulty_ && random_.chance(6)) given = random_.chance(50) ? "secret" : "bad";
        note("wiring=" + given);
        if (given != "default") wish("wiring", given == "bad" ? bad("magic") : given);
        if (!faulty_ && given == "envfile" &&
            std::min(w_.settings.kubernetes, w_.settings.lowest_kubelet) < KubernetesVersion{1, 35})
            wishes_.erase("wiring");
        const std::string agent_mode = random_.chance(70)              ? "default"
                                       : faulty_ && random_.chance(15) ? "none"
                                       : random_.chance(50)            ? "init"
                                                                       : "sidecar";
        note("agent=" + agent_mode);
        if (agent_mode != "default") wish("agent", agent_mode);
        const std::string rotate = random_.chance(80) ? "default"
                                   : faulty_ && random_.chance(50)
                                       ? random_.pick(std::array{"restart", "signal", "bad"})
                                       : random_.pick(std::array{"rollout", "none"});
        note("on-rotate=" + rotate);
        if (rotate != "default")
            wish("on-rotate", rotate == "signal" ? "signal:HUP" : rotate == "bad" ? bad("maybe") : rotate);
        const std::string conflict = random_.chance(45)              ? "default"
                                     : random_.chance(60)            ? "replace"
                                     : faulty_ && random_.chance(50) ? "deny"
                                                                     : "keep";
        note("on-conflict=" + conflict);
        if (conflict != "default") wish("on-conflict", conflict);

        // An image's entrypoint, for what has no command.
        if (random_.chance(60))
            for (const auto& names : {names_, init_names_})
                for (const std::string& name : names)
                    if (random_.chance(70)) {
                        note("entrypoint");
                        wish("entrypoint-" + name, R"(["/usr/bin/entry", "a b", "ü"])");
                    }
        if (faulty_ && random_.chance(5)) {
            note("entrypoint-bad");
            wish("entrypoint-app", bad(R"(["/app")"));
        }
        if (faulty_ && random_.chance(3)) {
            note("entrypoint-stranger");
            wish("entrypoint-nobody", R"(["/app"])");
        }
        if (random_.chance(25) && !names_.empty()) {
            note("containers-annotation");
            wish("containers", names_.size() > 1 && random_.chance(50) ? names_.back() + ", " + names_.front()
                                                                       : names_.back());
        } else if (faulty_ && random_.chance(5)) {
            note("containers-annotation-unknown");
            wish("containers", "app,nobody");
        }
        if (random_.chance(40) && !init_names_.empty()) {
            note("init-containers-annotation");
            wish("init-containers", init_names_.front());
        }
        if (random_.chance(12)) {
            note("env-annotation");
            wish("env-DB_USER", "db/data/shop#user");
        }
        if (random_.chance(5)) {
            note("env-annotation-of-provider");
            wish("env-HOLYSHEEP_API_KEY", "kv/data/other#key");
        }
        if (faulty_ && random_.chance(5)) {
            note("env-annotation-bad");
            wish("env-BAD", bad("no reference"));
        }
        if (random_.chance(12)) {
            const bool field = random_.chance(50);
            note(field ? "secret-file-field" : "secret-file");
            wish("secret-db.json", field ? "db/data/shop#all" : "db/data/shop");
            if (random_.chance(40)) {
                const bool wrong = faulty_ && random_.chance(30);
                note(wrong ? "perms-file-bad" : "perms-file");
                wish("perms-db.json", wrong ? bad("999") : "0400");
            }
        }
        if (random_.chance(8)) {
            note("template-file");
            wish("template-config", "{{ with secret \"kv/data/x\" }}\"ü\" \\ {{ .Data.data.y }}{{ end }}");
        }
    }

    void login() {
        if (random_.chance(15)) {
            note("login=role");
            wish("role", "shop reader");
        }
        if (random_.chance(10)) {
            note("login=approle");
            wish("auth-type", "approle");
            wish("approle-secret", "shop.approle");
        } else if (faulty_ && random_.chance(5)) {
            note("login=approle-without-secret");
            wish("auth-type", "approle");
        }
        if (random_.chance(8)) {
            note("login=audience");
            wish("token-audience", "https://vault.example \"x\"");
        }
        if (random_.chance(8)) {
            note("login=auth-path");
            wish("auth-path", random_.chance(50) ? "auth/cluster-b" : "cluster-b/k8s");
        }
        if (random_.chance(8)) {
            note("login=ca-secret");
            wish("ca-secret", "vault-ca");
        }
        if (random_.chance(8)) {
            note("login=address-allowed");
            wish("vault-address",
                 random_.chance(50) ? "https://allowed.example:8200" : "https://eu.vaults.example:8200");
        } else if (faulty_ && random_.chance(8)) {
            note("login=address-refused");
            wish("vault-address", random_.pick(std::array{"https://evil.example:8200",
                                                          "https://evil.test/.vaults.example:8200",
                                                          "https://a.b.vaults.example:8200"}));
        }
        if (random_.chance(8)) {
            note("login=namespace");
            wish("vault-namespace", "team/ai");
        }
        if (random_.chance(8)) {
            note("login=tls-server-name");
            wish("tls-server-name", "vault.internal");
        }
    }

    void agent() {
        if (random_.chance(8)) {
            note("agent-resources");
            wish("agent-cpu-request", "0.1");
            wish("agent-memory-limit", "1024Mi");
        } else if (random_.chance(4)) {
            note("agent-resources-none");
            wish("agent-cpu-limit", "none");
        } else if (faulty_ && random_.chance(4)) {
            note("agent-resources-bad");
            wish("agent-cpu-limit", bad("12x"));
        } else if (faulty_ && random_.chance(4)) {
            note("agent-resources-request-above-limit");
            wish("agent-memory-request", "4Gi");
        }
        if (random_.chance(6)) {
            note("run-as");
            wish("agent-run-as-user", "10001");
            wish("agent-run-as-group", "10002");
        } else if (faulty_ && random_.chance(4)) {
            note("run-as-root");
            wish("agent-run-as-user", "0");
        }
        if (random_.chance(6)) {
            note("agent-flavor");
            wish("agent-flavor", random_.chance(50) ? "vault" : "bao");
        }
        if (random_.chance(6)) {
            note("agent-image");
            wish("agent-image", "registry.example:5000/agent@sha256:" + std::string(64, '0'));
        }
        if (random_.chance(6)) {
            note("log-level");
            wish("log-level", "trace");
        }
    }

    Json foreign() {
        Json others = Json::object();
        if (random_.chance(40)) others["example.org/note"] = "a/b~c";
        if (random_.chance(5)) {
            note("other-injector");
            others["vault.hashicorp.com/agent-inject"] = "true";
        }
        if (random_.chance(10)) {
            note("canary=foreign-annotation");
            others["kubectl.kubernetes.io/last-applied-configuration"] =
                fmt::format(R"({{"value":"{}"}})", canary);
        }
        if (faulty_ && random_.chance(1)) {
            note("annotations-too-large");
            others["example.org/large"] = std::string(262'000, 'x');
        }
        return others;
    }

    void put_annotations(Json& metadata, const std::string& feature, Json ours, Json others,
                         const std::vector<std::string>& ways) {
        Json all = Json::object();
        const bool ours_first = random_.chance(50);
        for (const Json* part : {ours_first ? &ours : &others, ours_first ? &others : &ours})
            for (const auto& [name, value] : part->items()) all[name] = value;
        const std::string how = all.empty() ? ways[random_.below(ways.size())] : "some";
        note(fmt::format("{}={}", feature, how));
        if (how == "some" || how == "empty") metadata["annotations"] = std::move(all);
        if (how == "null") metadata["annotations"] = nullptr;
    }

    Json assemble(Json pod) {
        const std::string place = random_.chance(6)
                                      ? "not"
                                      : random_.pick(std::array{"workload", "workload", "template",
                                                                "template", "both", "contradicting"});
        note("asked=" + place);
        Json of_workload = Json::object(), of_template = Json::object();
        for (const auto& [name, value] : wishes_) {
            const std::string key = "keyshepherd.dev/" + name;
            if (place == "not" && name == "inject") continue;
            const bool to_template = place == "template" || place == "not" ||
                                     ((place == "both" || place == "contradicting") && random_.chance(60));
            (to_template ? of_template : of_workload)[key] = value;
            if (place == "both" && to_template && random_.chance(50)) of_workload[key] = value;
            if (place == "contradicting" && to_template)
                of_workload[key] = name == "inject" ? "false" : value;
        }
        if (faulty_ && random_.chance(3)) {
            note("annotation-of-no-text");
            of_workload["keyshepherd.dev/role"] = 5;
        }

        Json t = Json::object();
        Json metadata = {{"labels", {{"app", "a"}}}};
        const Json others = foreign();
        const bool bare = of_template.empty() && others.empty();
        const std::string how = bare ? random_.pick(std::array{"absent", "null", "empty", "some"}) : "some";
        note("metadata=" + how);
        if (how == "empty") metadata = Json::object();
        if (how == "some" || how == "empty") {
            put_annotations(metadata, "annotations", of_template, others, {"absent", "null", "empty"});
            strange(metadata, "template-metadata");
            t["metadata"] = std::move(metadata);
        }
        if (how == "null") t["metadata"] = nullptr;
        strange(t, "template");
        t["spec"] = std::move(pod);

        Json w = {{"apiVersion", "apps/v1"}, {"kind", w_.kind}};
        w["metadata"] = {{"name", "shop"}, {"creationTimestamp", nullptr}};
        if (random_.chance(70)) w["metadata"]["namespace"] = w_.workload_namespace;
        put_annotations(w["metadata"], "workload-annotations", of_workload, foreign(), {"absent", "null"});
        strange(w["metadata"], "metadata");
        w["spec"] = {{"replicas", 3}, {"selector", {{"matchLabels", {{"app", "a"}}}}}};
        w["spec"]["template"] = std::move(t);
        w["spec"]["strategy"] = Json::object();
        strange(w["spec"], "spec");
        w["status"] = Json::object();
        strange(w, "workload");
        return w;
    }

    Random& random_;
    Workload w_;
    bool faulty_ = false;  // may carry what is refused
    std::vector<std::string> names_, init_names_;
    std::map<std::string, std::string> wishes_;
};

}  // namespace

std::uint64_t Random::next() {
    std::uint64_t x = state_ += 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

std::string unquote_numbers(const std::string& text) {
    constexpr std::string_view mark = "\"\\u0001";
    std::string out;
    std::size_t at = 0;
    while (true) {
        const std::size_t quote = text.find(mark, at);
        out += text.substr(at, quote - at);
        if (quote == std::string::npos) return out;
        const std::size_t end = text.find('"', quote + mark.size());
        out += text.substr(quote + mark.size(), end - quote - mark.size());
        at = end + 1;
    }
}

const inject::Catalog& catalog() {
    static const inject::Catalog all = [] {
        auto c = inject::Catalog::built_in("https://vault.example:8200",
                                           "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
        for (
            const std::string_view text : {
                R"({"apiVersion":"keyshepherd.dev/v1alpha1","kind":"ClusterAIProvider","metadata":{"name":"openroad"},"spec":{
                     "path":"ai-apis/data/openroad","variables":[{"name":"OPENROAD_TOKEN","key":"token"}],"auth":{"role":"holysheep"},
                     "connectionRef":{"name":"main","namespace":"vault"},"delivery":{"secret":true}}})",
                R"({"apiVersion":"keyshepherd.dev/v1alpha1","kind":"ClusterAIProvider","metadata":{"name":"holysheep"},"spec":{
                     "path":"ai-apis/data/holysheep","variables":[{"name":"HOLYSHEEP_API_KEY","key":"api_key"},
                     {"name":"HOLYSHEEP_BASE_URL","key":"base_url"}],"connectionRef":{"name":"main","namespace":"vault"},
                     "delivery":{"secret":true}}})",
                R"({"apiVersion":"keyshepherd.dev/v1alpha1","kind":"ClusterAIProvider","metadata":{"name":"elsewhere"},"spec":{
                     "path":"kv/data/elsewhere","variables":[{"name":"ELSEWHERE_KEY","key":"k"},{"name":"ELSEWHERE_ORG","key":"o"}],
                     "vault":{"address":"https://bao.elsewhere.example:8200","namespace":"ai"},
                     "auth":{"type":"approle","secretName":"elsewhere-approle"}}})",
                R"({"apiVersion":"keyshepherd.dev/v1alpha1","kind":"ClusterAIProvider","metadata":{"name":"twin"},"spec":{
                     "path":"ai-apis/data/twin","variables":[{"name":"HOLYSHEEP_API_KEY","key":"api_key"}],"auth":{"role":"holysheep"}}})",
                R"({"apiVersion":"keyshepherd.dev/v1alpha1","kind":"AIProvider","metadata":{"name":"holysheep","namespace":"staging"},"spec":{
                     "path":"ai-apis/data/holysheep-staging","variables":[{"name":"HOLYSHEEP_API_KEY","key":"api_key"}],
                     "auth":{"role":"holysheep"}}})"})
            if (auto added = test::add_provider(c, text); !added)
                throw std::logic_error(added.error().message);
        return c;
    }();
    return all;
}

const std::set<std::string>& WorkloadGenerator::features() {
    static const std::set<std::string> all = [] {
        std::set<std::string> names;
        std::size_t at = 0;
        while ((at = names_of_features.find_first_not_of(" \n", at)) != std::string_view::npos) {
            const std::size_t end = names_of_features.find_first_of(" \n", at);
            names.emplace(names_of_features.substr(at, end - at));
            at = end;
        }
        return names;
    }();
    return all;
}

Workload WorkloadGenerator::next() {
    Workload w = Maker(random_).make();
    w.number = made_++;
    return w;
}

}  // namespace keyshepherd::generate
