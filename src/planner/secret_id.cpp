#include "same.hpp"

#include <keyshepherd/core/fnv.hpp>
#include <keyshepherd/core/time.hpp>
#include <keyshepherd/planner/secret_id.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace keyshepherd::planner {

namespace {

using What = SecretIdStep::What;

constexpr const char* managed_by = "keyshepherd";

std::string text_of(const Json& object, const char* name) {
    const auto at = object.is_object() ? object.find(name) : object.end();
    return object.is_object() && at != object.end() && at->is_string() ? at->get<std::string>()
                                                                       : std::string();
}

std::int64_t duration_of(const Json& spec, const char* field) {
    const auto at = spec.find(field);
    return at == spec.end() ? 0 : resources::seconds_of(*at).value_or(0);
}

Json wanted(const Resource& resource) {
    Json body = Json::object();
    // What is absent is as the role says; a zero would be refused by a role that has a limit.
    if (const auto ttl = duration_of(resource.spec, "ttl"); ttl > 0) body["ttl"] = ttl;
    if (const auto uses = resource.spec.value("numUses", std::int64_t{0}); uses > 0) body["num_uses"] = uses;
    for (const auto& [field, name] :
         {std::pair("cidrs", "cidr_list"), {"tokenBoundCIDRs", "token_bound_cidrs"}})
        if (const auto at = resource.spec.find(field); at != resource.spec.end() && !at->empty())
            body[name] = sent(*resources::find_field(resource.kind->spec, field), *at);
    return body;
}

bool is_alive(const std::optional<SecretIdFacts>& facts, std::string_view owner, std::int64_t now) {
    return facts && facts->owner == owner && (facts->expires == 0 || now < facts->expires);
}

// When `record`'s secret-id is to be replaced; 0: never. Spread, so that what was issued together is not
// replaced together.
std::int64_t rotation_of(const Json& spec, const SecretIdRecord& record) {
    const std::int64_t issued = seconds_since_epoch(record.issued_at);
    const std::int64_t expires = seconds_since_epoch(record.expires_at);
    std::int64_t period = duration_of(spec, "rotationPeriod");
    if (period == 0 && expires > issued) period = std::max<std::int64_t>((expires - issued) * 2 / 3, 1);
    if (period == 0) return 0;
    std::int64_t due =
        issued + period - static_cast<std::int64_t>(fnv1a(record.accessor) % 1000) * period / 10'000;
    // The old one has to outlive the overlap, where its life allows that.
    const std::int64_t overlap = duration_of(spec, "overlap");
    if (expires > issued && expires - overlap > issued) due = std::min(due, expires - overlap);
    return due;
}

// When it is replaced though one is in overlap; 0: never.
std::int64_t last_rotation_of(const SecretIdRecord& record) {
    const std::int64_t issued = seconds_since_epoch(record.issued_at);
    const std::int64_t expires = seconds_since_epoch(record.expires_at);
    const std::int64_t due = seconds_since_epoch(record.next_rotation);
    return due == 0 || expires <= issued ? 0 : std::max(due, issued + (expires - issued) * 4 / 5);
}

// When the next one may be issued. What the record says of the future is no time that has been.
std::int64_t next_issue_of(const SecretIdRecord& record, const SecretIdView& view, std::int64_t interval) {
    const std::int64_t issued = seconds_since_epoch(record.issued_at);
    const std::int64_t due = seconds_since_epoch(record.next_rotation);
    if (issued != 0 && due > issued) interval = std::min(interval, (due - issued) / 2);
    const std::int64_t last = std::max(view.last_issue, issued <= view.now ? issued : 0);
    return last == 0 ? 0 : last + interval;
}

std::string text_or_never(std::int64_t seconds) {
    return seconds == 0 ? std::string() : rfc3339(seconds);
}

// What can be told from the rest of the record and the spec.
SecretIdRecord scheduled(const Json& spec, SecretIdRecord record) {
    record.next_rotation = record.accessor.empty() ? "" : text_or_never(rotation_of(spec, record));
    record.overlap_until =
        record.previous.empty()
            ? ""
            : rfc3339(seconds_since_epoch(record.rotated_at) + duration_of(spec, "overlap"));
    return record;
}

// What the workloads are restarted for: changes with each half of the pair. The role-id counts only from its
// first change on, so that a pair of an earlier release restarts nothing.
std::string rollout_of(std::string_view accessor, std::string_view new_role_id = {}) {
    return fmt::format("{:016x}", fnv1a(fmt::format("{}{}", accessor, new_role_id)));
}

SecretIdRecord without_previous(SecretIdRecord record) {
    record.previous.clear();
    record.rotated_at.clear();
    record.overlap_until.clear();
    record.rollout.clear();
    return record;
}

SecretIdRecord with_published(const Resource& resource, SecretIdRecord record, const SecretIdView& view) {
    const SecretIdFacts& published = *view.published;
    const bool has_targets = !resource.spec.value("rolloutRestartTargets", Json::array()).empty();
    if (published.accessor != record.accessor) {
        record.previous = record.accessor;
        record.rotated_at = record.previous.empty() ? "" : rfc3339(view.now);
        record.rollout = record.previous.empty() || !has_targets ? "" : rollout_of(published.accessor);
        record.accessor = published.accessor;
        const std::int64_t created = seconds_since_epoch(published.created);
        record.issued_at = rfc3339(created);
        record.expires_at = text_or_never(published.expires);
        record.rotate_now = resource.rotate_now;
    } else if (has_targets && !record.role_id.empty() && record.role_id != view.role_id) {
        record.rollout = rollout_of(published.accessor, view.role_id);
    }
    record.role_id = view.role_id;
    record.secret_uid = view.secret_uid;
    return scheduled(resource.spec, std::move(record));
}

std::string why_replaced(const SecretIdRecord& record, const SecretIdView& view, std::string_view owner) {
    if (view.secret == SecretState::absent)
        return record.accessor.empty() ? "first secret-id" : "the Secret was missing";
    if (!view.published) return "Vault does not know the secret-id in the Secret";
    if (view.published->owner != owner) return "the secret-id in the Secret was not issued for this resource";
    return "the secret-id in the Secret expired";
}

}  // namespace

result<SecretIdFacts> secret_id_facts(const Json& data) {
    SecretIdFacts facts;
    facts.accessor = text_of(data, "secret_id_accessor");
    if (facts.accessor.empty()) return fail(Errc::protocol, "Vault's response has no secret_id_accessor");
    facts.created = text_of(data, "creation_time");
    facts.expires = seconds_since_epoch(text_of(data, "expiration_time"));
    if (const auto metadata = data.find("metadata"); metadata != data.end()) {
        if (text_of(*metadata, "managed-by") == managed_by) facts.owner = text_of(*metadata, "owner");
        facts.terms = text_of(*metadata, "terms");
        facts.issue = text_of(*metadata, "issue");
    }
    return facts;
}

std::string secret_id_terms(const Resource& resource) {
    return fmt::format("{:016x}", fnv1a(wanted(resource).dump()));
}

Json secret_id_request(const Resource& resource, std::string_view owner, std::string_view issue) {
    Json body = wanted(resource);
    body["metadata"] = Json{
        {"managed-by", managed_by},
        {"owner", owner},
        {"resource", fmt::format("{}/{}", resource.ns, resource.name)},
        {"terms", secret_id_terms(resource)},
        {"issue", issue}}.dump();
    return body;
}

namespace {

constexpr std::pair<const char*, std::string SecretIdRecord::*> record_fields[] = {
    {"accessor", &SecretIdRecord::accessor},
    {"roleID", &SecretIdRecord::role_id},
    {"issuedAt", &SecretIdRecord::issued_at},
    {"expiresAt", &SecretIdRecord::expires_at},
    {"nextRotation", &SecretIdRecord::next_rotation},
    {"previousAccessor", &SecretIdRecord::previous},
    {"rotatedAt", &SecretIdRecord::rotated_at},
    {"overlapUntil", &SecretIdRecord::overlap_until},
    {"rollout", &SecretIdRecord::rollout},
    {"rotatedFor", &SecretIdRecord::rotate_now},
    {"secretUID", &SecretIdRecord::secret_uid},
};

}  // namespace

SecretIdRecord secret_id_record(const Json& status) {
    SecretIdRecord record;
    for (const auto& [name, field] : record_fields) record.*field = text_of(status, name);
    return record;
}

std::map<std::string, std::string> fields(const SecretIdRecord& record) {
    std::map<std::string, std::string> all;
    for (const auto& [name, field] : record_fields) all[name] = record.*field;
    return all;
}

namespace {

SecretIdStep step_of(const Resource& resource, std::string_view owner, const SecretIdRecord& record,
                     const SecretIdView& view, std::int64_t grace, std::int64_t interval) {
    if (view.secret == SecretState::foreign) return {.what = What::refuse};
    const bool alive = view.secret != SecretState::absent && is_alive(view.published, owner, view.now);
    const bool recorded = alive && view.published->accessor == record.accessor;

    if (view.pending && !view.pending_is_published) {
        if (view.drawn) return {.what = What::enroll};
        // What was asked for by a spec that is no more would be replaced at once, and take the overlap from
        // the one before it.
        if (is_alive(view.pending_facts, owner, view.now) &&
            view.pending_facts->accessor != record.previous &&
            (!alive || view.pending_facts->terms == secret_id_terms(resource)))
            return {.what = What::publish, .why = "it was issued but not yet published"};
        return {.what = What::discard};
    }
    if (view.pending && (recorded || !alive || view.published->accessor == record.previous))
        return {.what = What::discard};

    const auto draw_beside = [&](std::string why) -> SecretIdStep {
        if (const std::int64_t at = next_issue_of(record, view, interval); view.now < at)
            return {.what = alive ? What::rest : What::delay, .why = std::move(why), .at = at};
        return {.what = What::draw, .why = std::move(why)};
    };
    const auto draw = [&](std::string why) -> SecretIdStep {
        SecretIdStep step = draw_beside(std::move(why));
        // Two beside each other at most.
        if (step.what == What::draw && !record.previous.empty())
            return {.what = What::destroy,
                    .why = "replaced before its overlap ended: " + step.why,
                    .record = without_previous(record),
                    .accessors = {record.previous}};
        return step;
    };
    if (!alive) return draw(why_replaced(record, view, owner));

    if (!recorded) {
        // An older one was put back by hand. The newer one has been handed out too: it gets the overlap.
        if (view.published->accessor == record.previous)
            return draw_beside("the Secret contained a replaced secret-id");
        // Two have come since: the record has room for one.
        if (!record.previous.empty()) return draw("another secret-id was published");
        return {.what = What::record, .record = with_published(resource, record, view)};
    }
    if (view.secret != SecretState::ours) return {.what = What::mend};
    if (SecretIdRecord due = with_published(resource, record, view); due != record)
        return {.what = What::record, .record = std::move(due)};

    if (view.published->terms != secret_id_terms(resource)) return draw("spec changed");
    if (resource.rotate_now != record.rotate_now) {
        if (!resource.rotate_now.empty()) return draw("requested by keyshepherd.dev/rotate-now");
        SecretIdRecord calm = record;
        calm.rotate_now.clear();
        return {.what = What::record, .record = std::move(calm)};
    }
    if (!record.rollout.empty() && !view.restarted) return {.what = What::restart};
    // Nothing waits for the end of a rollout but the secret-id in overlap.
    if (!record.rollout.empty() && record.previous.empty() && view.rolled_out)
        return {.what = What::record, .record = without_previous(record)};

    std::int64_t at = 0;
    const auto look_at = [&at](std::int64_t when) { at = at == 0 ? when : std::min(at, when); };
    if (!record.previous.empty()) {
        const std::int64_t end = seconds_since_epoch(record.overlap_until);
        const std::int64_t limit =
            seconds_since_epoch(record.rotated_at) + duration_of(resource.spec, "maxOverlap");
        const bool out = record.rollout.empty() || view.rolled_out;
        if ((view.now >= end && out) || view.now >= limit)
            return {.what = What::destroy,
                    .why = out ? "its overlap ended"
                               : "maxOverlap passed before the rollouts of all targets were complete",
                    .record = without_previous(record),
                    .accessors = {record.previous}};
        // What was refused is asked for again, and told of, less often.
        look_at(view.now < end ? end : std::min(limit, view.now + (view.refused ? 60 : 2)));
        // However long the overlap: what is published must not come to its end before it is replaced.
        if (const std::int64_t last = last_rotation_of(record); last != 0) {
            if (view.now >= last) return draw("its rotation is due");
            look_at(last);
        }
    } else if (const std::int64_t due = seconds_since_epoch(record.next_rotation); due != 0) {
        if (view.now >= due) return draw("its rotation is due");
        look_at(due);
    }
    if (view.list_wanted && !view.all) {
        if (view.now >= view.unsure_until) return {.what = What::list};
        look_at(view.unsure_until);
    }
    if (view.all) {
        std::vector<std::string> orphans;
        for (const SecretIdFacts& each : *view.all) {
            if (each.owner != owner || each.accessor == record.accessor || each.accessor == record.previous)
                continue;
            const std::int64_t ripe = seconds_since_epoch(each.created) + grace;
            if (view.now >= ripe)
                orphans.push_back(each.accessor);
            else
                look_at(ripe);
        }
        if (!orphans.empty())
            return {.what = What::destroy,
                    .why = "no resource refers to it",
                    .record = record,
                    .accessors = std::move(orphans)};
    }
    return {.what = What::rest, .at = at};
}

}  // namespace

SecretIdStep next_step(const Resource& resource, std::string_view owner, const SecretIdRecord& record,
                       const SecretIdView& view, std::int64_t grace, std::int64_t interval) {
    SecretIdView seen = view;
    if (view.pending_foreign) seen.pending = false;
    SecretIdStep step = step_of(resource, owner, record, seen, grace, interval);
    // There is no place for a new one. What is published and what is in overlap go their way all the same.
    if (step.what == What::draw && view.pending_foreign) return {.what = What::refuse};
    return step;
}

}  // namespace keyshepherd::planner
