// tests/golden/yaml/yaml-truth.jsonl: what sigs.k8s.io/yaml 1.6.0 makes of 125 scalars and documents.
#include <keyshepherd/yaml/yaml.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <map>
#include <sstream>
#include <string>

namespace keyshepherd::yaml {
namespace {

// Row, from 1 -> why ours differs on purpose.
const std::map<std::size_t, std::string> exceptions = {
    {106, "a repeated key is refused: kubectl drops the first value without a word"},
    {115,
     "the row's byte is no longer the invalid one that was tried: JSON cannot hold it "
     "(ReadTest.RefusesBytesThatAreNotUtf8)"},
};

TEST(TruthTable, IsWhatReadGives) {
    std::ifstream in(KEYSHEPHERD_TESTS "/golden/yaml/yaml-truth.jsonl");
    std::string line;
    std::size_t row = 0;
    bool documents = false;  // the first rows are values, to be read as `k: <value>`
    while (std::getline(in, line)) {
        ++row;
        const auto pair = nlohmann::json::parse(line);
        const std::string text = pair[0];
        const std::string want = pair[1];
        documents = documents || text == "1: a";
        const auto got = read(documents ? text : "k: " + text + "\n");
        bool equal = want == "ERR" ? !got : got && got->size() == 1;
        if (equal && want != "ERR") {
            std::ostringstream json;
            json << got->front().json;
            equal = nlohmann::json::parse(json.str()) == nlohmann::json::parse(want);
        }
        EXPECT_NE(equal, exceptions.contains(row))
            << "row " << row << ": " << line << (got ? "" : " gave " + got.error().message);
    }
    EXPECT_EQ(row, 125U);
}

}  // namespace
}  // namespace keyshepherd::yaml
