// yaml::read on any bytes, and read -> apply -> read: nothing crashes, and an edit means what its patch says.
#include <keyshepherd/yaml/yaml.hpp>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string_view>

namespace {

using namespace keyshepherd;

[[noreturn]] void broken(const char* law, const std::string& text) {
    std::cerr << "broken law: " << law << "\n" << text << "\n";
    std::abort();
}

json::array patch_of(std::string_view text) {
    return json::parse(text)->as_array();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const json::array add =
        patch_of(R"([{"op":"add","path":"/zz","value":{"list":["yes",1.5,{"a":"l1\nl2\n"}]}}])");
    static const json::array append =
        patch_of(R"([{"op":"add","path":"/-","value":{"k":"- x"}},{"op":"add","path":"/0","value":[null]}])");
    const std::string_view stream(reinterpret_cast<const char*>(data), size);
    const auto documents = yaml::read(stream);
    if (!documents) {
        if (!documents.error().message.starts_with("line "))
            broken("an error names a line", documents.error().message);
        return 0;
    }
    std::string joined;
    for (const yaml::Document& document : *documents) joined += document.separator + document.source;
    if (joined != stream) broken("separators and sources are the stream", joined);
    for (const yaml::Document& document : *documents) {
        const auto same = yaml::apply(document, {});
        if (!same || *same != document.source) broken("an empty patch changes nothing", document.source);
        const bool map = document.json.is_object();
        if (!map && !document.json.is_array()) continue;
        const auto changed = yaml::apply(document, map ? add : append);
        if (!changed) broken("a patch that fits is applied", changed.error().message);
        const auto again = yaml::read(*changed);
        if (!again || again->size() != 1) broken("what was printed can be read", *changed);
        json::value want = document.json;
        if (map) {
            want.as_object()["zz"] = add[0].at("value");
        } else {
            want.as_array().push_back(append[0].at("value"));
            want.as_array().insert(want.as_array().begin(), append[1].at("value"));
        }
        // By JSON text: a whole double may have become an integer on the way, and both print alike here.
        if (!json::equal(again->front().json, want)) broken("a patch means what it says", *changed);
    }
    return 0;
}
