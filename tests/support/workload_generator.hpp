// Random workloads for property tests: the same seed gives the same workloads on every machine and standard
// library.
//
//     WorkloadGenerator generate(1);
//     Workload w = generate.next();       // w.object is JSON text, as odd as an API server or a person may
//     send it
//
// What a workload was made to show is in w.features, by names of WorkloadGenerator::features(). A test counts
// them and fails on a zero, so that the generator cannot silently stop producing something.
#pragma once

#include "support/settings.hpp"

#include <keyshepherd/inject/injector.hpp>

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::generate {

// splitmix64: https://prng.di.unimi.it/splitmix64.c (public domain). std's distributions differ between
// libraries.
class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next();
    std::size_t below(std::size_t n) { return static_cast<std::size_t>(next() % n); }
    bool chance(unsigned percent) { return below(100) < percent; }
    template <class List>
    const auto& pick(const List& list) {
        return list[below(std::size(list))];
    }

private:
    std::uint64_t state_;
};

// A secret value. It is planted where a person may have left one, and must never turn up anywhere else.
inline constexpr std::string_view canary = "sk-canary-7d1f0b6e5c4a39281706f5e4d3c2b1a0";

// JSON as dump() gives it, where a text that starts with \u0001 stands for a number in the spelling behind
// it.
std::string unquote_numbers(const std::string& text);

struct Workload {
    std::size_t number = 0;
    std::string kind;
    std::string workload_namespace;
    std::string object;  // JSON text
    inject::Settings settings = testing_support::settings();
    std::set<std::string> features;

    bool has(const std::string& feature) const { return features.contains(feature); }
};

// holysheep (built in, and another one of that name in namespace "staging"), openroad (same Vault and login)
// and elsewhere (its own Vault, AppRole), all with variables of their own; "twin" sets holysheep's variable
// once more.
const inject::Catalog& catalog();

class WorkloadGenerator {
public:
    explicit WorkloadGenerator(std::uint64_t seed) : random_(seed) {}

    Workload next();
    static const std::set<std::string>& features();

private:
    Random random_;
    std::size_t made_ = 0;
};

}  // namespace keyshepherd::generate
