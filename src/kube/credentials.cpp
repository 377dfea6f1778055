#include "credentials.hpp"

#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/core/time.hpp>
#include <keyshepherd/kube/client.hpp>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <fstream>

extern char** environ;  // NOLINT

namespace keyshepherd::kube {

namespace {

namespace asio = boost::asio;
using net::Deadline;
using net::SteadyClock;
using net::Task;

constexpr std::size_t largest_output = 1024 * 1024;
constexpr std::chrono::milliseconds reap_interval{10};

// Our environment with the plugin's on top.
std::vector<std::string> environment(const ExecPlugin& plugin, const Json& info) {
    std::vector<std::pair<std::string, std::string>> ours = plugin.environment;
    ours.emplace_back("KUBERNETES_EXEC_INFO", info.dump(-1, ' ', false, Json::error_handler_t::replace));
    std::vector<std::string> all;
    for (char** each = environ; *each != nullptr; ++each) {
        const std::string_view entry(*each);
        const std::string_view name = entry.substr(0, entry.find('='));
        if (std::ranges::none_of(ours, [&](const auto& own) { return own.first == name; }))
            all.emplace_back(entry);
    }
    for (const auto& [name, value] : ours) all.push_back(name + '=' + value);
    return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> all;
    all.reserve(texts.size() + 1);
    for (std::string& text : texts) all.push_back(text.data());
    all.push_back(nullptr);
    return all;
}

// A child in a process group of its own. Whoever leaves it alive kills it.
class Child {
public:
    explicit Child(pid_t pid) : pid_(pid) {}
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child() {
        if (reaped_) return;
        kill(-pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }
    // Its exit code, or 128 + the signal's number.
    std::optional<int> ended() {
        int status = 0;
        if (waitpid(pid_, &status, WNOHANG) == 0) return std::nullopt;
        reaped_ = true;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }

private:
    pid_t pid_;
    bool reaped_ = false;
};

struct SpawnSetup {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;

    SpawnSetup() {
        posix_spawn_file_actions_init(&actions);
        posix_spawnattr_init(&attributes);
    }
    SpawnSetup(const SpawnSetup&) = delete;
    SpawnSetup& operator=(const SpawnSetup&) = delete;
    ~SpawnSetup() {
        posix_spawn_file_actions_destroy(&actions);
        posix_spawnattr_destroy(&attributes);
    }
};

int spawn(pid_t& pid, const ExecPlugin& plugin, const Json& info, int out) {
    SpawnSetup setup;
    posix_spawn_file_actions_addopen(&setup.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&setup.actions, out, STDOUT_FILENO);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&setup.attributes, &none);
    posix_spawnattr_setpgroup(&setup.attributes, 0);
    posix_spawnattr_setflags(&setup.attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    std::vector<std::string> arguments = plugin.arguments;
    arguments.insert(arguments.begin(), plugin.command);
    std::vector<std::string> variables = environment(plugin, info);
    return posix_spawnp(&pid, plugin.command.c_str(), &setup.actions, &setup.attributes,
                        pointers(arguments).data(), pointers(variables).data());
}

}  // namespace

ExecCredential::~ExecCredential() {
    wipe(token);
    wipe(certificate);
    wipe(key);
}

Wiped::~Wiped() {
    wipe(text);
}

result<ExecCredential> read_exec_credential(std::string_view output, const ExecPlugin& plugin) {
    Json parsed = Json::parse(output, nullptr, false);
    ExecCredential credential;
    const auto wrong = [&](std::string_view what) {
        wipe(parsed);
        return fail(Errc::invalid,
                    fmt::format("the output of the credential plugin {} {}", plugin.command, what));
    };
    if (text_at(parsed, "kind") != "ExecCredential") return wrong("is not an ExecCredential");
    if (text_at(parsed, "apiVersion") != plugin.api_version)
        return wrong(fmt::format("does not have the apiVersion {} of the kubeconfig", plugin.api_version));
    const auto status = parsed.find("status");
    if (status == parsed.end() || !status->is_object()) return wrong("has no status");
    credential.token = text_at(*status, "token");
    credential.certificate = text_at(*status, "clientCertificateData");
    credential.key = text_at(*status, "clientKeyData");
    if (credential.certificate.empty() != credential.key.empty())
        return wrong("has a certificate without a key, or a key without a certificate");
    if (credential.token.empty() && credential.certificate.empty())
        return wrong("has neither a token nor a certificate");
    if (const std::string expires = text_at(*status, "expirationTimestamp"); !expires.empty()) {
        const std::int64_t seconds = seconds_since_epoch(expires);
        credential.expires = std::chrono::sys_seconds(std::chrono::seconds(seconds));
        if (seconds == 0) return wrong("has an expirationTimestamp that is not an RFC 3339 time");
    }
    wipe(parsed);
    return credential;
}

Task<result<ExecCredential>> run_plugin(ExecPlugin plugin, Json cluster, Deadline deadline) {
    const auto wrong = [&](Errc code, std::string_view what) {
        return fail(code, fmt::format("the credential plugin {} {}", plugin.command, what));
    };
    Json info = {
        {"apiVersion", plugin.api_version}, {"kind", "ExecCredential"}, {"spec", {{"interactive", false}}}};
    if (!cluster.is_null()) info["spec"]["cluster"] = std::move(cluster);
    int ends[2] = {-1, -1};
    if (pipe2(ends, O_CLOEXEC) != 0)
        co_return wrong(Errc::internal, "cannot be started: cannot create a pipe");
    using Pipe = asio::posix::basic_stream_descriptor<net::Executor>;
    Pipe out(co_await asio::this_coro::executor, ends[0]);
    pid_t pid = 0;
    const int error = spawn(pid, plugin, info, ends[1]);
    close(ends[1]);
    if (error != 0)
        co_return wrong(error == ENOENT ? Errc::not_found : Errc::internal,
                        fmt::format("cannot be started: {}", std::strerror(error)));
    Child child(pid);

    // The timer closes the pipe, which ends the read below; cancellation does, too.
    net::Timer timer(co_await asio::this_coro::executor, deadline);
    bool late = false;
    const auto state = std::make_shared<Pipe*>(&out);
    timer.async_wait([state, &late](const boost::system::error_code& ec) {
        if (ec || *state == nullptr) return;
        late = true;
        boost::system::error_code ignored;
        (*state)->close(ignored);
    });
    Wiped output;
    boost::system::error_code failed;
    while (!failed && output.text.size() <= largest_output) {
        char buffer[4096];
        auto [ec, size] = co_await out.async_read_some(asio::buffer(buffer), net::no_throw);
        output.text.append(buffer, size);
        failed = ec;
    }
    *state = nullptr;
    timer.cancel();
    if (late) co_return wrong(Errc::timeout, "timed out");
    if (output.text.size() > largest_output) co_return wrong(Errc::invalid, "wrote too much output");
    if (failed != asio::error::eof) co_return wrong(Errc::cancelled, "was interrupted");
    std::optional<int> code = child.ended();
    while (!code && SteadyClock::now() < deadline) {
        if (!co_await net::sleep_until(SteadyClock::now() + reap_interval))
            co_return wrong(Errc::cancelled, "was interrupted");
        code = child.ended();
    }
    if (!code) co_return wrong(Errc::timeout, "timed out");
    if (*code != 0) co_return wrong(Errc::unauthorized, fmt::format("exited with status {}", *code));
    co_return read_exec_credential(output.text, plugin);
}

std::optional<std::string> read_file(const std::string& path) {
    std::filebuf in;
    in.pubsetbuf(nullptr, 0);  // no copy of a secret in a buffer that nobody wipes
    if (in.open(path, std::ios::in | std::ios::binary) == nullptr) return std::nullopt;
    std::string text;
    char buffer[4096];
    for (std::streamsize got = 0; (got = in.sgetn(buffer, sizeof(buffer))) > 0;) {
        text.append(buffer, static_cast<std::size_t>(got));
        if (text.size() > largest_output) return std::nullopt;
    }
    return text;
}

}  // namespace keyshepherd::kube
