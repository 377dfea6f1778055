// The life of a secret-id against a model of Vault, of Kubernetes and of a process that dies between any two
// effects, of answers that are lost, and of people. The steps are taken as SecretIdReconciler::take() takes
// them.
//
//     KEYSHEPHERD_SEED=7 KEYSHEPHERD_CASES=100000 planner_test --gtest_filter='SecretIdModel.*'
#include <keyshepherd/core/time.hpp>
#include <keyshepherd/planner/secret_id.hpp>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <random>
#include <set>

namespace keyshepherd::planner {
namespace {

using What = SecretIdStep::What;

constexpr const char* us = "uid-of-the-resource";
constexpr std::int64_t grace = 30;
constexpr std::int64_t resync = 300;
constexpr std::int64_t settled_after = 1500;  // longer than any overlap and any rotation of the cases

unsigned long number_of(const char* variable, unsigned long otherwise) {
    const char* text = std::getenv(variable);
    return text == nullptr ? otherwise : std::strtoul(text, nullptr, 10);
}

// ---- what outlives a process

struct Registered {
    std::string value;
    SecretIdFacts facts;
};

struct StoredSecret {
    std::string uid;
    std::string value;
    bool owned = true;     // has our ownerReference
    bool stale = false;    // labels or role_id are not ours
    bool fixed = false;    // immutable, or of another type
    bool foreign = false;  // somebody else made it
};

struct OnItsWay {
    std::int64_t at = 0;
    std::string value;
    SecretIdFacts facts;
};

struct World {
    std::int64_t now = 1'800'000'000;
    Resource resource;
    std::vector<Registered> vault;
    std::set<std::string> once_registered;
    std::vector<OnItsWay> late;  // requests whose sender has given up, or is dead
    std::optional<StoredSecret> secret;
    std::optional<StoredSecret> pending;
    SecretIdRecord record;
    std::string targets_told;  // what the workloads were last restarted for
    std::int64_t targets_out_at = 0;
    bool targets_refuse = false;
    bool finalized = false;
    int serial = 0;

    // ---- what a judge knows
    std::string handed_out;        // the value that the operator published last
    bool disturbed = true;         // a person broke the published pair, or there is none yet
    bool was_down = false;         // nobody looked for so long that it may have expired
    bool touched_pending = false;  // a person took the pending Secret away: the intent is not known any more
    std::int64_t causes = 1;       // why a new one may be drawn: the first one
    std::int64_t published = 0;    // new values that were published
    std::map<std::string, std::int64_t> ends;  // of values that expire
    std::set<std::string> timely;              // values whose rotation was counted
    std::set<std::string> restarts;

    const Registered* find(const std::string& value) const {
        const auto at = std::ranges::find(vault, value, &Registered::value);
        return at == vault.end() ? nullptr : &*at;
    }
    // Some servers let an expired one in until they tidy; whoever relies on that is found out.
    bool logs_in(const std::string& value) const {
        const Registered* found = find(value);
        return found != nullptr && (found->facts.expires == 0 || now < found->facts.expires);
    }
    std::string fresh(const char* kind) { return fmt::format("{}-{}", kind, ++serial); }
};

struct Crash {
    std::string after;
};
// An answer that is an error: the turn ends, the process goes on.
struct Refused {};

struct Tally {
    std::map<std::string, long> steps;
    std::map<std::string, long> crashes;
    std::map<std::string, long> people;
    std::map<std::string, long> draws;
};

// ---- one case

class Case {
public:
    Case(unsigned seed, Tally& tally) : random_(seed), tally_(tally) {
        Json spec = {{"appRoleRef", {{"name", "r"}}},
                     {"overlap", pick({"0", "1s", "40s", "5m"})},
                     {"maxOverlap", "10m"}};
        if (const auto* ttl = pick({"0", "0", "2m", "20m", "1h"}); std::string_view(ttl) != "0")
            spec["ttl"] = ttl;
        if (chance(3)) spec["rotationPeriod"] = pick({"1m", "100s"});
        if (chance(2)) spec["rolloutRestartTargets"] = Json::array({{{"kind", "Deployment"}, {"name", "d"}}});
        auto reading = resources::read({{"apiVersion", "keyshepherd.dev/v1alpha1"},
                                        {"kind", "VaultSecretID"},
                                        {"metadata", {{"name", "s"}, {"namespace", "ai"}, {"uid", us}}},
                                        {"spec", std::move(spec)}},
                                       "ai");
        for (const auto& fault : reading.faults) ADD_FAILURE() << fault.field << " " << fault.message;
        world_.resource = std::move(reading.resource);
        world_.targets_refuse = chance(6);
        tidy_ = chance(2) ? 0 : 60;
    }

    // "" or what went wrong.
    std::string run() {
        start();
        const int rounds = 5 + below(20);
        for (int i = 0; i < rounds && fault_.empty(); ++i) {
            trouble_ = true;
            if (chance(2)) person();
            live(chance(4) ? 1 + below(400) : 1 + below(20));
        }
        if (!fault_.empty()) return story();
        // Nobody disturbs any more.
        trouble_ = false;
        if (world_.secret && world_.secret->foreign) world_.secret.reset(), world_.disturbed = true;
        if (world_.pending && world_.pending->foreign) world_.pending.reset();
        for (const std::int64_t end = world_.now + settled_after; world_.now < end && fault_.empty();)
            live(60);
        if (fault_.empty()) at_rest();
        return fault_.empty() ? std::string() : story();
    }

private:
    // ---- chance

    int below(int end) { return static_cast<int>(random_() % static_cast<unsigned>(end)); }
    bool chance(int of) { return below(of) == 0; }
    const char* pick(std::initializer_list<const char*> from) {
        return from.begin()[below(static_cast<int>(from.size()))];
    }

    // ---- judging

    void wrong(std::string what) {
        if (fault_.empty()) fault_ = std::move(what);
    }
    void note(std::string what) {
        if (told_.size() < 4000) told_.push_back(fmt::format("{:>6} {}", world_.now - 1'800'000'000, what));
    }
    std::string story() const {
        std::string text = fault_ + "\n";
        const std::size_t from = told_.size() > 60 ? told_.size() - 60 : 0;
        for (std::size_t i = from; i < told_.size(); ++i) text += told_[i] + "\n";
        return text;
    }

    // After every effect.
    void judge(const std::string& after) {
        if (world_.secret && world_.secret->foreign && world_.secret->value != "foreign")
            wrong("a foreign Secret was written");
        if (!world_.disturbed && !world_.was_down) {
            if (!world_.secret)
                wrong("the Secret is gone after " + after);
            else if (!world_.logs_in(world_.secret->value))
                wrong("the published pair does not log in after " + after);
        }
        if (world_.published > world_.causes)
            wrong(fmt::format("more were published than there were reasons: {} for {}, after {}",
                              world_.published, world_.causes, after));
    }

    void at_rest() {
        int alive = 0;
        for (const Registered& each : world_.vault) {
            if (each.facts.owner != us) continue;
            ++alive;
            if (each.facts.accessor != world_.record.accessor &&
                each.facts.accessor != world_.record.previous &&
                world_.now >= seconds_since_epoch(each.facts.created) + 3 * grace)
                wrong("an orphan is left: " + each.facts.accessor);
        }
        if (alive > 2) wrong(fmt::format("{} are alive at rest", alive));
        if (!world_.secret || !world_.logs_in(world_.secret->value)) wrong("at rest nothing logs in");
        if (world_.pending && !world_.pending->foreign) wrong("at rest a pending Secret is left");
        const Registered* held = world_.secret ? world_.find(world_.secret->value) : nullptr;
        if (held != nullptr && held->facts.accessor != world_.record.accessor)
            wrong("the status names another one");
        if (world_.record.next_rotation.empty() && alive != 1)
            wrong(fmt::format("{} are alive, and none rotates", alive));
    }

    // ---- time

    void pass(std::int64_t seconds) {
        for (; seconds > 0; --seconds) {
            ++world_.now;
            for (const OnItsWay& each : world_.late)
                if (each.at <= world_.now) arrive(each);
            std::erase_if(world_.late, [&](const OnItsWay& each) { return each.at <= world_.now; });
            std::erase_if(world_.vault, [&](const Registered& each) {
                return each.facts.expires != 0 && each.facts.expires + tidy_ <= world_.now;
            });
        }
    }

    void arrive(const OnItsWay& request) {
        note("arrives late: " + request.value);
        reg(request.value, request.facts);
    }

    void reg(const std::string& value, SecretIdFacts facts) {
        if (!world_.once_registered.insert(value).second) return wrong("registered again: " + value);
        facts.created = rfc3339(world_.now);
        if (facts.expires != 0) world_.ends[value] = facts.expires;
        world_.vault.push_back({value, std::move(facts)});
    }

    // ---- people

    void person() {
        const auto spoil = [&] { world_.disturbed = true, ++world_.causes; };
        switch (below(16)) {
            case 0:  // destroys the published one in Vault
                if (!world_.secret) return;
                tell("destroys the published one");
                std::erase_if(world_.vault,
                              [&](const Registered& e) { return e.value == world_.secret->value; });
                return spoil();
            case 1:  // destroys any one
                if (world_.vault.empty()) return;
                tell("destroys some one");
                world_.vault.erase(world_.vault.begin() + below(static_cast<int>(world_.vault.size())));
                return spoil();
            case 2:  // edits the Secret
                if (!world_.secret || world_.secret->foreign) return;
                tell("edits the Secret");
                world_.secret->value = "garbage";
                return spoil();
            case 3:  // puts an older value back
                if (!world_.secret || world_.secret->foreign || olden_.empty()) return;
                tell("puts an older value back");
                world_.secret->value =
                    chance(2) ? olden_.back()
                              : olden_[static_cast<std::size_t>(below(static_cast<int>(olden_.size())))];
                return spoil();
            case 4:
                if (!world_.secret) return;
                tell("deletes the Secret");
                world_.secret.reset();
                return spoil();
            case 5:
                if (!world_.secret || world_.secret->foreign) return;
                tell("takes labels away");
                world_.secret->stale = true;
                return;
            case 6:
                if (!world_.secret || world_.secret->foreign) return;
                tell("makes the Secret immutable");
                world_.secret->fixed = true;
                // Killed between deleting and making it, the value is lost with it.
                return spoil();
            case 7:
                if (!world_.secret || world_.secret->foreign ||
                    world_.record.secret_uid != world_.secret->uid)
                    return;
                tell("takes the owner away");
                world_.secret->owned = false;
                return;
            case 8:
                tell("makes the role anew");
                world_.vault.clear();
                return spoil();
            case 9:
                tell("changes the spec");
                world_.resource.spec["numUses"] = 1'000'000 + ++world_.serial;
                ++world_.causes;
                return;
            case 10:
                tell("asks for a rotation");
                world_.resource.rotate_now = world_.fresh("rotate");
                ++world_.causes;
                return;
            case 11:
                if (!world_.pending || world_.pending->foreign) return;
                tell("deletes the pending Secret");
                world_.pending.reset();
                world_.touched_pending = true;
                ++world_.causes;
                return;
            case 12:
                if (world_.secret) return;
                tell("makes a Secret of the name");
                world_.secret = StoredSecret{
                    .uid = world_.fresh("uid"), .value = "foreign", .owned = false, .foreign = true};
                return spoil();
            case 14:
                if (world_.pending) return;
                tell("makes a pending Secret");
                world_.pending = StoredSecret{
                    .uid = world_.fresh("uid"), .value = "foreign", .owned = false, .foreign = true};
                return;
            case 15:
                if (!world_.pending || !world_.pending->foreign) return;
                tell("takes its pending Secret away");
                world_.pending.reset();
                return;
            case 13:
                if (!world_.secret || !world_.secret->foreign) return;
                tell("takes its Secret away");
                world_.secret.reset();
                return spoil();
        }
    }

    void tell(const char* what) {
        ++tally_.people[what];
        note(std::string("a person ") + what);
    }

    // ---- the process

    void start() {
        unsure();  // who went before may have left something on its way
        drawn_.clear();
    }

    void live(std::int64_t seconds) {
        const std::int64_t end = world_.now + seconds;
        while (world_.now < end && fault_.empty()) {
            std::int64_t wait = 1;
            try {
                wait = turn();
            } catch (const Crash& crash) {
                ++tally_.crashes[crash.after];
                note("dies after " + crash.after);
                start();
                const std::int64_t away = chance(5) ? 1 + below(300) : 1 + below(5);
                down(away);
                pass(away);
                continue;
            } catch (const Refused&) {
                note("an answer is lost");
                wait = 1 + below(3);
                down(wait);
            }
            pass(std::clamp<std::int64_t>(wait, 1, std::max<std::int64_t>(end - world_.now, 1)));
        }
    }

    // Where the process may die, and people come by.
    void effect(const std::string& what) {
        judge(what);
        if (!trouble_) return;
        if (chance(12)) throw Crash{what};
        if (chance(40)) person();
    }

    void unsure() {
        swept_ = false;
        unsure_until_ = world_.now + grace;
    }

    // The shortest life of the cases leaves 24 s after the last moment to rotate.
    void down(std::int64_t seconds) {
        down_ += seconds;
        if (down_ > 16) world_.was_down = true;
    }

    SecretIdView look() {
        SecretIdView view;
        if (world_.secret) {
            const StoredSecret& secret = *world_.secret;
            view.secret_uid = secret.uid;
            const bool known =
                secret.owned || (!world_.record.secret_uid.empty() && world_.record.secret_uid == secret.uid);
            view.secret = !known                          ? SecretState::foreign
                          : secret.fixed                  ? SecretState::fixed
                          : secret.stale || !secret.owned ? SecretState::stale
                                                          : SecretState::ours;
            if (!known) return view;
        }
        view.pending = world_.pending.has_value();
        view.pending_foreign = view.pending && world_.pending->foreign;
        if (view.pending_foreign) view.pending = false;
        if (world_.secret)
            if (const Registered* found = world_.find(world_.secret->value)) view.published = found->facts;
        if (view.pending) {
            view.pending_is_published = world_.secret && world_.secret->value == world_.pending->value;
            if (!view.pending_is_published)
                if (const Registered* found = world_.find(world_.pending->value))
                    view.pending_facts = found->facts;
        }
        look_at_targets(view);
        return view;
    }

    void look_at_targets(SecretIdView& view) const {
        view.restarted = view.rolled_out = true;
        if (world_.record.rollout.empty() ||
            world_.resource.spec.value("rolloutRestartTargets", Json::array()).empty())
            return;
        view.restarted = world_.targets_told == world_.record.rollout;
        view.rolled_out = view.restarted && world_.now >= world_.targets_out_at;
    }

    // SecretIdReconciler::reconcile(): how many seconds until the next look.
    std::int64_t turn() {
        if (!world_.finalized) swept_ = true;
        was_swept_ = false;
        SecretIdView view = look();
        view.list_wanted = !swept_;
        view.unsure_until = unsure_until_;
        for (int steps = 0;; ++steps) {
            view.now = world_.now;
            const SecretIdStep step = next_step(world_.resource, us, world_.record, view, grace);
            ++tally_.steps[name_of(step.what)];
            if (step.what == What::refuse) {
                world_.was_down = true;  // somebody else's Secret holds it up, beyond its end it may be
                return resync;
            }
            if (step.what == What::rest) {
                world_.was_down = false;
                down_ = 0;
                return step.at == 0 ? resync
                                    : std::min(resync, std::max<std::int64_t>(step.at - world_.now, 1));
            }
            if (steps == 30) {
                wrong("it does not come to rest");
                return 1;
            }
            note(fmt::format("{} {}", name_of(step.what), step.why));
            take(step, view);
        }
    }

    static const char* name_of(What what) {
        constexpr const char* names[] = {"refuse", "draw",    "enroll", "publish", "discard", "mend",
                                         "record", "restart", "list",   "destroy", "rest"};
        return names[static_cast<int>(what)];
    }

    void take(const SecretIdStep& step, SecretIdView& view) {
        switch (step.what) {
            case What::draw:
                return draw(step, view);
            case What::enroll:
                return enroll(view);
            case What::publish: {
                const std::string value = world_.pending ? world_.pending->value : drawn_;
                write_secret(value, view, true);
                view.published = view.pending_facts;
                view.pending_is_published = true;
                return;
            }
            case What::discard:
                return discard(view);
            case What::mend:
                if (!world_.secret) throw Refused{};
                return write_secret(world_.secret->value, view, false);
            case What::record:
                if (step.record.accessor != world_.record.accessor && was_swept_) swept_ = true;
                world_.record = step.record;
                effect("record");
                return look_at_targets(view);
            case What::restart:
                view.restarted = true;
                if (!world_.targets_refuse) {
                    if (!world_.restarts.insert(world_.record.rollout).second)
                        wrong("restarted twice for one rotation");
                    world_.targets_told = world_.record.rollout;
                    world_.targets_out_at = world_.now + below(100);
                }
                view.rolled_out = false;
                view.refused = world_.targets_refuse;
                return effect("restart");
            case What::list: {
                view.all.emplace();
                bool young = false;
                for (const Registered& each : world_.vault) {
                    view.all->push_back(each.facts);
                    young =
                        young || (each.facts.owner == us && each.facts.accessor != world_.record.accessor &&
                                  each.facts.accessor != world_.record.previous);
                }
                swept_ = !young && world_.now >= unsure_until_;
                return;
            }
            case What::destroy:
                return destroy(step, view);
            case What::refuse:
            case What::delay:  // the model has no interval
            case What::rest:
                return;
        }
    }

    void draw(const SecretIdStep& step, SecretIdView& view) {
        ++tally_.draws[step.why];
        if (world_.pending) throw Refused{};  // 409: one is there
        // Time is a reason of its own, once for each.
        const std::string held = world_.secret ? world_.secret->value : "";
        const auto end = world_.ends.find(held);
        const bool expired = end != world_.ends.end() && world_.now >= end->second;
        if ((step.why == "its rotation is due" || expired) && world_.timely.insert(held).second)
            ++world_.causes;
        if (step.why == "its rotation is due" &&
            world_.now < seconds_since_epoch(world_.record.next_rotation))
            wrong("rotated before its time");
        world_.finalized = true;
        drawn_ = world_.fresh("value");
        world_.pending = StoredSecret{.uid = world_.fresh("uid"), .value = drawn_};
        view.pending = view.drawn = true;
        view.pending_is_published = false;
        view.pending_facts.reset();
        effect("draw");
    }

    void enroll(SecretIdView& view) {
        view.drawn = false;
        was_swept_ = swept_;
        swept_ = false;
        SecretIdFacts facts{.accessor = world_.fresh("accessor"),
                            .created = rfc3339(world_.now),
                            .owner = us,
                            .terms = secret_id_terms(world_.resource),
                            .issue = world_.fresh("issue")};
        if (const auto ttl = resources::seconds_of(world_.resource.spec.at("ttl")).value_or(0); ttl > 0)
            facts.expires = world_.now + ttl;
        if (trouble_ && chance(8)) {
            switch (below(4)) {
                case 0:
                    reg(drawn_, facts);
                    break;
                case 1:
                case 2:
                    world_.late.push_back({world_.now + 1 + below(grace - 2), drawn_, facts});
                    break;
                default:
                    break;
            }
            unsure();
            effect("an enrolling without answer");
            throw Refused{};
        }
        reg(drawn_, facts);
        effect("enroll");
        view.pending_facts = facts;
    }

    void write_secret(const std::string& value, SecretIdView& view, bool fresh) {
        if (view.secret == SecretState::fixed) {
            if (!world_.secret || world_.secret->uid != view.secret_uid) throw Refused{};
            world_.secret.reset();
            view.secret = SecretState::absent;
            world_.disturbed = true;
            effect("replace");
        }
        if (view.secret == SecretState::absent) {
            if (world_.secret) throw Refused{};  // 409: somebody made one
            world_.secret = StoredSecret{.uid = world_.fresh("uid"), .value = value};
        } else {
            if (!world_.secret || world_.secret->uid != view.secret_uid) throw Refused{};
            if (world_.secret->foreign) wrong("a foreign Secret is written");
            if (world_.secret->fixed) throw Refused{};  // 422
            *world_.secret = StoredSecret{.uid = world_.secret->uid, .value = value};
        }
        view.secret = SecretState::ours;
        view.secret_uid = world_.secret->uid;
        if (fresh && value != world_.handed_out) {
            if (!world_.handed_out.empty()) olden_.push_back(world_.handed_out);
            world_.handed_out = value;
            ++world_.published;
        }
        if (world_.logs_in(value)) world_.disturbed = false;
        effect(fresh ? "publish" : "mend");
    }

    void discard(SecretIdView& view) {
        if (world_.pending && world_.pending->foreign) wrong("a foreign pending Secret is deleted");
        world_.pending.reset();
        if (!view.pending_is_published) {
            unsure();
            view.list_wanted = true;
            view.unsure_until = unsure_until_;
        }
        view.pending = view.pending_is_published = false;
        view.pending_facts.reset();
        effect("discard");
    }

    void destroy(const SecretIdStep& step, SecretIdView& view) {
        for (const std::string& accessor : step.accessors) {
            const auto at = std::ranges::find(world_.vault, accessor,
                                              [](const Registered& e) { return e.facts.accessor; });
            if (at != world_.vault.end()) {
                if (at->facts.owner != us) wrong("somebody else's is destroyed");
                if (world_.pending && world_.pending->value == at->value && !world_.touched_pending)
                    wrong("the pending one is destroyed");
                if (accessor == world_.record.previous && step.why == "its overlap ended" &&
                    world_.now < seconds_since_epoch(world_.record.overlap_until))
                    wrong("destroyed in its overlap");
                if (step.why == "no resource refers to it" &&
                    (accessor == world_.record.accessor || accessor == world_.record.previous))
                    wrong("what the status names is destroyed as an orphan");
                if (accessor == world_.record.previous &&
                    (step.why == "its overlap ended" || step.why.contains("maxOverlap")) &&
                    !world_.targets_refuse && !world_.record.rollout.empty() &&
                    world_.targets_told != world_.record.rollout)
                    wrong("destroyed before the targets were restarted");
                world_.vault.erase(at);
            }
            effect("destroy");
            if (view.all)
                std::erase_if(*view.all,
                              [&](const SecretIdFacts& each) { return each.accessor == accessor; });
        }
        if (step.record == world_.record) return;
        world_.record = step.record;
        effect("forget");
    }

    std::mt19937 random_;
    Tally& tally_;
    World world_;
    bool trouble_ = true;
    std::int64_t tidy_ = 0;
    // of the process
    bool swept_ = false;
    bool was_swept_ = false;  // before this turn enrolled one
    std::int64_t unsure_until_ = 0;
    std::int64_t down_ = 0;  // since it was last at rest
    std::string drawn_;
    // of the people
    std::vector<std::string> olden_;
    std::string fault_;
    std::vector<std::string> told_;
};

void print(const char* what, const std::map<std::string, long>& counts) {
    std::cout << what << ":";
    for (const auto& [name, count] : counts) std::cout << fmt::format("  {} {}", name, count);
    std::cout << "\n";
}

TEST(SecretIdModel, HoldsItsPromisesWhateverDiesIsLostOrIsDoneByPeople) {
    const auto first = static_cast<unsigned>(number_of("KEYSHEPHERD_SEED", 1));
    const auto cases = static_cast<unsigned>(number_of("KEYSHEPHERD_CASES", 1000));
    Tally tally;
    std::map<std::string, int> faults;
    for (unsigned seed = first; seed < first + cases; ++seed) {
        const std::string fault = Case(seed, tally).run();
        if (fault.empty()) continue;
        if (++faults[fault.substr(0, fault.find_first_of(":\n"))] == 1)
            ADD_FAILURE() << "KEYSHEPHERD_SEED=" << seed << " KEYSHEPHERD_CASES=1: " << fault;
    }
    std::cout << fmt::format("{} cases from KEYSHEPHERD_SEED={}\n", cases, first);
    print("steps", tally.steps);
    print("deaths after", tally.crashes);
    print("people", tally.people);
    print("drawn because", tally.draws);
    for (const auto& [what, count] : faults) std::cout << "FAULT " << count << " × " << what << "\n";
    // What is never met is not tested.
    for (const char* step :
         {"refuse", "draw", "enroll", "publish", "discard", "mend", "record", "restart", "list", "destroy"})
        EXPECT_GT(tally.steps[step], 0) << step;
    for (const char* point : {"draw", "enroll", "an enrolling without answer", "publish", "mend", "replace",
                              "record", "restart", "discard", "destroy", "forget"})
        EXPECT_GT(tally.crashes[point], 0) << point;
}

}  // namespace
}  // namespace keyshepherd::planner
