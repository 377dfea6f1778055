// Keeps a View equal to what the API server tells: AIProviders, ClusterAIProviders and the labels of
// Namespaces.
//
// The view has `unread` until each of the three was read once. From then on it is served: while the API
// server is away it stays as it was last told. A document with faults takes its name out of use, until it is
// mended.
#pragma once

#include <keyshepherd/kube/reflector.hpp>
#include <keyshepherd/net/signal.hpp>
#include <keyshepherd/provider/provider.hpp>
#include <keyshepherd/telemetry/log.hpp>
#include <keyshepherd/telemetry/metrics.hpp>
#include <keyshepherd/webhook/view.hpp>

#include <boost/asio/cancellation_signal.hpp>

#include <array>
#include <functional>
#include <list>
#include <map>
#include <string>

namespace keyshepherd::webhook {

class ClusterView {
public:
    // `rules` are for the cluster's providers. `default_provider` is warned of when nothing has that name.
    // `base` is what the cluster's providers come over; `news` is called when something is known that
    // requests may wait for. All outlive this, and this outlives the run of `context`.
    ClusterView(boost::asio::io_context& context, kube::Config config, View& view, inject::Catalog base,
                provider::Rules rules, std::string default_provider, std::function<void()> news,
                telemetry::Log& log, telemetry::Metrics& metrics);
    ClusterView(const ClusterView&) = delete;
    ClusterView& operator=(const ClusterView&) = delete;

    // Once.
    void start();
    // Other defaults of the installation: every document is read anew over them.
    void use(inject::Catalog base);
    // Ends the watches; false when one has not ended within that time.
    net::Task<bool> stop(std::chrono::milliseconds within);

private:
    struct Collection : kube::Sink {
        Collection(ClusterView& owner_, kube::Resource resource_);
        void replaced(std::vector<kube::Json> objects, const std::vector<std::string>& gone) final;
        void removed(const std::string& key, kube::Json last_state) final;
        void failed(const Error& error, std::chrono::milliseconds wait) final;
        void recovered() final;
        virtual void erase(const std::string& key) = 0;

        ClusterView& owner;
        kube::Resource resource;
        bool synced = false;
        std::string failure;  // why it cannot be watched now; "": it can
    };
    struct Providers final : Collection {
        using Collection::Collection;
        void applied(kube::Json object) override;
        void erase(const std::string& key) override;
        std::map<std::string, std::string> documents;  // by key, as JSON text
    };
    struct NamespaceLabels final : Collection {
        using Collection::Collection;
        void applied(kube::Json object) override;
        void erase(const std::string& key) override;
    };

    void put(const std::string& document);
    void changed();
    bool synced() const { return view_.unread.empty(); }

    boost::asio::io_context& context_;
    kube::Client client_;
    View& view_;
    provider::Rules rules_;
    std::string default_provider_;
    std::function<void()> news_;
    telemetry::Log& log_;
    telemetry::Metrics& metrics_;
    Providers own_;
    Providers shared_;
    NamespaceLabels namespaces_;
    std::array<Collection*, 3> all_;
    std::list<boost::asio::cancellation_signal> stops_;
    std::size_t running_ = 0;
    net::Signal ended_;
};

}  // namespace keyshepherd::webhook
