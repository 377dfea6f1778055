// Where the API server is and who we are to it: a kubeconfig, or the service account of our pod.
#pragma once

#include <keyshepherd/core/result.hpp>
#include <keyshepherd/net/client.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace keyshepherd::kube {

// A program that prints an ExecCredential of client.authentication.k8s.io/v1 or v1beta1.
struct ExecPlugin {
    std::string command;  // a path, or a name to look for in $PATH
    std::vector<std::string> arguments = {};
    std::vector<std::pair<std::string, std::string>> environment = {};  // on top of ours
    std::string api_version = "client.authentication.k8s.io/v1";
    bool cluster_info = false;  // it wants to know of the cluster
};

struct Config {
    net::Origin origin;
    net::ClientTls tls = {};         // with the client certificate, where there is one
    std::string path_prefix = {};    // "/k8s/clusters/c-1" before every path; usually empty
    std::string pod_namespace = {};  // of our pod; "" with a kubeconfig
    // At most one of these is used, in this order.
    std::string token_file = {};  // read again after a minute, and when the server says 401
    std::string token = {};
    std::optional<ExecPlugin> exec = {};
};

// The current context of a kubeconfig; relative files are of `folder`. Errc::invalid for what cannot be read,
// and for what we do not do rather than do less safely: insecure-skip-tls-verify, passwords, auth providers,
// proxies, impersonation.
result<Config> from_kubeconfig(std::string_view text, const std::filesystem::path& folder);
// Errc::not_found when this is no pod. `root` is where its files are.
result<Config> in_cluster(
    const std::filesystem::path& root = "/var/run/secrets/kubernetes.io/serviceaccount");
// `file` when given, else $KUBECONFIG (one file), else ~/.kube/config where there is one, else in_cluster().
result<Config> load(const std::string& file = "");

}  // namespace keyshepherd::kube
