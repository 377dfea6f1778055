// Finds the entries of a container's `env` by name.
#pragma once

#include <keyshepherd/json/value.hpp>

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace keyshepherd::inject {

// Views the names in `env`: an edit of it ends the index's life.
class EnvIndex {
public:
    EnvIndex() = default;
    // `env` may be null: no entries.
    explicit EnvIndex(const json::array* env);

    // The last entry of that name, which is the one that the kubelet takes.
    std::optional<std::size_t> last(std::string_view name) const;

private:
    std::vector<std::pair<std::string_view, std::size_t>> by_name_;  // sorted once it is long
};

}  // namespace keyshepherd::inject
