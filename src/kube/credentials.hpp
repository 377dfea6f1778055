// The credentials of a Config as they are now: a token that is read or made anew when it has to be.
#pragma once

#include <keyshepherd/kube/config.hpp>
#include <keyshepherd/kube/object.hpp>
#include <keyshepherd/net/task.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace keyshepherd::kube {

// What a plugin gave. Wiped when done with.
struct ExecCredential {
    std::string token;
    std::string certificate;  // PEM
    std::string key;          // PEM
    std::optional<std::chrono::sys_seconds> expires;

    ExecCredential() = default;
    ExecCredential(ExecCredential&&) = default;
    ExecCredential& operator=(ExecCredential&&) = default;
    ~ExecCredential();
};

// Pure: the plugin's output. Errc::invalid says what is wrong with it and repeats nothing of it.
result<ExecCredential> read_exec_credential(std::string_view output, const ExecPlugin& plugin);

// Runs `plugin` in a process group of its own, which is killed at the deadline. `cluster` goes into
// KUBERNETES_EXEC_INFO when the plugin is told of the cluster.
net::Task<result<ExecCredential>> run_plugin(ExecPlugin plugin, Json cluster, net::Deadline deadline);

// A text that is wiped when done with.
struct Wiped {
    std::string text;

    Wiped() = default;
    Wiped(const Wiped&) = delete;
    Wiped& operator=(const Wiped&) = delete;
    ~Wiped();
};

// A file's bytes; nullopt when it cannot be read or is larger than 1 MiB.
std::optional<std::string> read_file(const std::string& path);

}  // namespace keyshepherd::kube
