#include "credentials.hpp"

#include <keyshepherd/kube/config.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace keyshepherd::kube {
namespace {

namespace fs = std::filesystem;

class Folder : public testing::Test {
protected:
    void SetUp() override {
        std::string name = (fs::temp_directory_path() / "keyshepherd-kube.XXXXXX").string();
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        folder = name;
    }
    void TearDown() override { fs::remove_all(folder); }
    void write(const std::string& name, std::string_view text) const {
        fs::create_directories((folder / name).parent_path());
        std::ofstream(folder / name, std::ios::binary) << text;
    }
    fs::path folder;
};

std::string kubeconfig(std::string_view cluster, std::string_view user) {
    return "apiVersion: v1\nkind: Config\ncurrent-context: two\ncontexts:\n"
           "- {name: one, context: {cluster: nowhere, user: nobody}}\n"
           "- {name: two, context: {cluster: c, user: u, namespace: team}}\n"
           "clusters:\n- name: c\n  cluster: " +
           std::string(cluster) + "\nusers:\n- name: u\n  user: " + std::string(user) + "\n";
}

class KubeconfigTest : public Folder {
protected:
    result<Config> read(std::string_view cluster, std::string_view user) const {
        return from_kubeconfig(kubeconfig(cluster, user), folder);
    }
    void refused(std::string_view cluster, std::string_view user, Errc code, std::string_view text) const {
        const auto config = read(cluster, user);
        ASSERT_FALSE(config) << cluster << user;
        EXPECT_EQ(config.error().code, code);
        EXPECT_NE(config.error().message.find(text), std::string::npos) << config.error().message;
        EXPECT_EQ(config.error().message.find("s3cr3t"), std::string::npos);
    }
    const std::string plain = "{server: \"https://api:6443\"}";
};

TEST_F(KubeconfigTest, TakesTheCurrentContextWithDataInPlace) {
    const auto config =
        read("{server: \"https://api:6443/\", certificate-authority-data: Q0E=, tls-server-name: k}",
             "{client-certificate-data: Q0VSVA==, client-key-data: S0VZ}");
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->origin, (net::Origin{true, "api", "6443"}));
    EXPECT_EQ(config->tls.ca, "CA");
    EXPECT_EQ(config->tls.server_name, "k");
    EXPECT_EQ(config->tls.certificate, "CERT");
    EXPECT_EQ(config->tls.key, "KEY");
    // The namespace of a kubeconfig's context is the one that a person works in, not that of a pod of ours.
    EXPECT_EQ(config->pod_namespace, "");
    EXPECT_EQ(config->path_prefix, "");
}

TEST_F(KubeconfigTest, FilesAreOfItsFolder) {
    write("pki/ca", "the ca");
    const auto config = read("{server: \"https://[::1]/k8s/clusters/c-1/\", certificate-authority: pki/ca}",
                             "{tokenFile: token}");
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->tls.ca, "the ca");
    EXPECT_EQ(config->token_file, (folder / "token").string());
    EXPECT_EQ(config->path_prefix, "/k8s/clusters/c-1");
    EXPECT_EQ(config->origin.host, "::1");
}

TEST_F(KubeconfigTest, TakesAPlugin) {
    const auto config =
        read(plain,
             "{exec: {apiVersion: client.authentication.k8s.io/v1, command: bin/get, args: [a, b], "
             "env: [{name: X, value: z}], provideClusterInfo: true, interactiveMode: Never}}");
    ASSERT_TRUE(config) << config.error().message;
    ASSERT_TRUE(config->exec);
    EXPECT_EQ(config->exec->command, (folder / "bin/get").string());
    EXPECT_EQ(config->exec->arguments, (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(config->exec->environment[0], (std::pair<std::string, std::string>("X", "z")));
    EXPECT_TRUE(config->exec->cluster_info);
}

TEST_F(KubeconfigTest, RefusesWhatWouldBeLessSafeOrIsUnknown) {
    refused("{server: \"https://a\", insecure-skip-tls-verify: true}", "{token: s3cr3t}", Errc::invalid,
            "insecure-skip-tls-verify");
    refused("{server: \"https://a\", proxy-url: \"http://p\"}", "{token: s3cr3t}", Errc::invalid,
            "proxy-url");
    refused("{server: \"http://a\"}", "{token: s3cr3t}", Errc::invalid, "http");
    refused("{server: \"a:6443\"}", "{token: s3cr3t}", Errc::invalid, "server");
    refused("{server: \"https://a/?x=y\"}", "{token: s3cr3t}", Errc::invalid, "query");
    refused("{}", "{token: s3cr3t}", Errc::invalid, "server");
    refused(plain, "{username: a, password: s3cr3t}", Errc::invalid, "username");
    refused(plain, "{auth-provider: {name: oidc}, token: s3cr3t}", Errc::invalid, "auth-provider");
    refused(plain, "{as: admin, token: s3cr3t}", Errc::invalid, "as");
    refused(plain, "{client-certificate-data: Q0VSVA==}", Errc::invalid, "must be set together");
    refused(plain, "{client-key-data: \"s3cr3t!\"}", Errc::invalid, "base64");
    refused(plain, "{client-certificate: missing, client-key: missing}", Errc::not_found, "missing");
    refused(plain, "{exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: x}}", Errc::invalid,
            "v1alpha1");
    refused(plain,
            "{exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Always}}",
            Errc::invalid, "interactiveMode");
    EXPECT_TRUE(
        read("{server: \"https://a\", insecure-skip-tls-verify: false, proxy-url: \"\"}", "{token: t}"));
    EXPECT_TRUE(read("{server: \"http://127.0.0.1:8001\"}", "{}"));  // kubectl proxy
}

TEST_F(KubeconfigTest, SaysWhichPartIsMissing) {
    for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{
             {"", "document"},
             {"[]", "document"},
             {"a: b: c", "1"},
             {"{}", "context ''"},
             {"current-context: x", "context 'x'"},
             {"current-context: x\ncontexts: [{name: x, context: {cluster: c}}]", "cluster 'c'"},
             {"current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: "
              "c, "
              "cluster: {server: \"https://a\"}}]",
              "user 'u'"}}) {
        const auto config = from_kubeconfig(text, folder);
        ASSERT_FALSE(config) << text;
        EXPECT_EQ(config.error().code, Errc::invalid);
        EXPECT_NE(config.error().message.find(part), std::string::npos) << config.error().message;
    }
}

class PodTest : public Folder {
protected:
    void SetUp() override {
        Folder::SetUp();
        setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
        setenv("KUBERNETES_SERVICE_PORT", "443", 1);
        write("ca.crt", "ca");
        write("token", "t");
        write("namespace", "ks");
    }
    void TearDown() override {
        unsetenv("KUBERNETES_SERVICE_HOST");
        unsetenv("KUBERNETES_SERVICE_PORT");
        Folder::TearDown();
    }
};

TEST_F(PodTest, IsItsServiceAccount) {
    const auto config = in_cluster(folder);
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->origin, (net::Origin{true, "fd00::1", "443"}));
    EXPECT_EQ(config->tls.ca, "ca");
    EXPECT_EQ(config->token_file, (folder / "token").string());
    EXPECT_EQ(config->pod_namespace, "ks");
}

TEST_F(PodTest, WithoutATokenSaysWhy) {
    fs::remove(folder / "token");
    EXPECT_NE(in_cluster(folder).error().message.find("automountServiceAccountToken"), std::string::npos);
    unsetenv("KUBERNETES_SERVICE_HOST");
    EXPECT_EQ(in_cluster(folder).error().code, Errc::not_found);
}

class LoadTest : public Folder {};

TEST_F(LoadTest, PrefersWhatIsGivenToTheEnvironment) {
    write("a", kubeconfig("{server: \"https://a\"}", "{token: t}"));
    write("b", kubeconfig("{server: \"https://b\"}", "{token: t}"));
    setenv("KUBECONFIG", (folder / "b").c_str(), 1);
    EXPECT_EQ(load((folder / "a").string())->origin.host, "a");
    EXPECT_EQ(load()->origin.host, "b");
    setenv("KUBECONFIG", (folder / "c").c_str(), 1);
    EXPECT_EQ(load().error().code, Errc::not_found);
    unsetenv("KUBECONFIG");
}

TEST(ExecCredential, IsATokenOrACertificate) {
    const ExecPlugin plugin{"p"};
    const std::string head =
        R"({"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":)";
    const auto token =
        read_exec_credential(head + R"({"token":"t","expirationTimestamp":"2001-09-09T01:46:40Z"}})", plugin);
    ASSERT_TRUE(token) << token.error().message;
    EXPECT_EQ(token->token, "t");
    ASSERT_TRUE(token->expires);
    EXPECT_EQ(token->expires->time_since_epoch().count(), 1'000'000'000);
    const auto certificate =
        read_exec_credential(head + R"({"clientCertificateData":"c","clientKeyData":"k"}})", plugin);
    ASSERT_TRUE(certificate);
    EXPECT_EQ(certificate->certificate, "c");
    EXPECT_FALSE(certificate->expires);
    for (const std::string& odd :
         {std::string("s3cr3t"), std::string("{}"), head + "1}", head + "{}}",
          head + R"({"clientKeyData":"s3cr3t"}})",
          head + R"({"token":"s3cr3t","expirationTimestamp":"tomorrow"}})",
          std::string(R"({"apiVersion":"other/v1","kind":"ExecCredential","status":{"token":"s3cr3t"}})")}) {
        const auto read = read_exec_credential(odd, plugin);
        ASSERT_FALSE(read) << odd;
        EXPECT_EQ(read.error().code, Errc::invalid);
        EXPECT_EQ(read.error().message.find("s3cr3t"), std::string::npos);
    }
}

}  // namespace
}  // namespace keyshepherd::kube
