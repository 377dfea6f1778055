#include <keyshepherd/core/time.hpp>
#include <keyshepherd/planner/read_back.hpp>

#include <algorithm>
#include <iterator>
#include <tuple>
#include <vector>

namespace keyshepherd::planner {

SecretIdRecord read_back(const Resource& resource, std::string_view owner, std::string_view published,
                         std::span<const SecretIdFacts> all) {
    std::vector<SecretIdFacts> ours;
    for (const SecretIdFacts& each : all)
        if (each.owner == owner) ours.push_back(each);
    // Within one second Vault's text tells the order no more: then the accessors do, in every process alike.
    std::ranges::sort(ours, [](const SecretIdFacts& a, const SecretIdFacts& b) {
        return std::tuple(seconds_since_epoch(a.created), a.created, a.accessor) >
               std::tuple(seconds_since_epoch(b.created), b.created, b.accessor);
    });
    auto current =
        published.empty() ? ours.begin() : std::ranges::find(ours, published, &SecretIdFacts::accessor);
    SecretIdRecord record;
    if (current == ours.end()) return record;
    record.accessor = current->accessor;
    record.issued_at = rfc3339(seconds_since_epoch(current->created));
    record.expires_at = current->expires == 0 ? "" : rfc3339(current->expires);
    record.rotate_now = resource.rotate_now;
    if (const auto before = std::next(current); before != ours.end()) {
        record.previous = before->accessor;
        record.rotated_at = record.issued_at;
    }
    return record;
}

}  // namespace keyshepherd::planner
