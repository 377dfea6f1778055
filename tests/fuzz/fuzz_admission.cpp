// The admission body: whatever arrives, there is an answer, a 200 is a review, and a second run gives the
// same bytes.
#include <keyshepherd/admission/review.hpp>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace keyshepherd;
    static const inject::Catalog catalog = inject::Catalog::built_in("https://vault.example:8200");
    static const inject::Settings settings = [] {
        inject::Settings all;
        all.image = "registry.example/keyshepherd:0.1.0";
        return all;
    }();
    const std::string_view body(reinterpret_cast<const char*>(data), size);
    const admission::Answer answer = admission::review(body, catalog, settings);
    require(answer.status == 200 || answer.status == 400 || answer.status == 413);
    if (answer.status == 200) {
        const auto review = nlohmann::json::parse(answer.body);
        require(review.at("kind") == "AdmissionReview");
        require(review.at("response").at("allowed").is_boolean());
    }
    require(admission::review(body, catalog, settings).body == answer.body);
    return 0;
}
