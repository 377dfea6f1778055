// The namespaces whose labels are known, for the overrides of a provider.
#pragma once

#include <keyshepherd/inject/selector.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace keyshepherd::inject {

// One thread changes it, between two reads.
class Namespaces {
public:
    // `way_out` tells a user how the labels of a namespace become known. `arriving`: a watch tells of them
    // and of providers, so that what is not known may be on its way.
    explicit Namespaces(std::string way_out = "no namespace labels are available here", bool arriving = false)
        : way_out_(std::move(way_out)), arriving_(arriving) {}

    // True for a namespace that was not known before.
    bool put(std::string name, Labels labels) {
        return known_.insert_or_assign(std::move(name), std::move(labels)).second;
    }
    void erase(std::string_view name) {
        if (const auto at = known_.find(name); at != known_.end()) known_.erase(at);
    }
    // Null for one that is not known.
    const Labels* find(std::string_view name) const {
        const auto at = known_.find(name);
        return at == known_.end() ? nullptr : &at->second;
    }
    const std::string& way_out() const { return way_out_; }
    bool arriving() const { return arriving_; }

private:
    std::string way_out_;
    bool arriving_;
    std::map<std::string, Labels, std::less<>> known_;
};

}  // namespace keyshepherd::inject
