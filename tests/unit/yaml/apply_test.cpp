#include <keyshepherd/yaml/yaml.hpp>

#include <gtest/gtest.h>

namespace keyshepherd::yaml {
namespace {

std::string patched(std::string_view text, std::string_view patch) {
    const auto documents = read(text);
    if (!documents) return documents.error().message;
    const auto operations = json::parse(patch);
    if (!operations) return operations.error().message;
    const auto out = apply(documents->front(), operations->as_array());
    return out ? *out : out.error().message;
}

constexpr std::string_view deployment = R"(# top
kind: Deployment # kind
metadata:
  name: ai
  # notes
  annotations: {}   # none yet
spec:
  replicas: 0x1F
  template:
    metadata: {labels: {app: ai}}
    spec:
      # containers below
      containers:
      # the first
      - name: app   # app!
        image: 'img:1.10'
        env:
        - name: A
          value: "yes"
        # the key
        - name: KEY
          value: vault:x#y # wired
        - {name: B, value: 'x'}
        resources:
          limits: {cpu: 0.10}
        command:
        - sh
      # tail
)";

TEST(ApplyTest, ChangesOnlyWhatThePatchChanges) {
    EXPECT_EQ(patched(deployment, R"([
      {"op":"add","path":"/metadata/annotations/a~1b","value":"{\"x\":1}"},
      {"op":"add","path":"/spec/template/metadata/annotations","value":{"k":"line1\nline2\n","q":"true"}},
      {"op":"add","path":"/spec/template/spec/containers/0/env/1/valueFrom","value":{"ref":{"key":"K","optional":false}}},
      {"op":"remove","path":"/spec/template/spec/containers/0/env/1/value"},
      {"op":"add","path":"/spec/template/spec/initContainers","value":[{"name":"agent","args":["-a","b: c",[1.5]]}]},
      {"op":"add","path":"/spec/template/spec/initContainers/0","value":{"name":"zero","pem":"a\nb"}},
      {"op":"add","path":"/spec/template/spec/containers/0/env/-","value":{"name":"Z","value":"012"}},
      {"op":"add","path":"/spec/template/spec/containers/0/command/0","value":"/exec"},
      {"op":"replace","path":"/spec/template/spec/containers/0/image","value":"x:2"},
      {"op":"add","path":"/spec/template/spec/containers/0","value":{"name":"sidecar"}}])"),
              R"(# top
kind: Deployment # kind
metadata:
  name: ai
  # notes
  annotations:   # none yet
    a/b: '{"x":1}'
spec:
  replicas: 0x1F
  template:
    metadata: {labels: {app: ai}, annotations: {k: "line1\nline2\n", q: "true"}}
    spec:
      # containers below
      containers:
      - name: sidecar
      # the first
      - name: app   # app!
        image: x:2
        env:
        - name: A
          value: "yes"
        # the key
        - name: KEY
          valueFrom:
            ref:
              key: K
              optional: false
        - {name: B, value: 'x'}
        - name: Z
          value: "012"
        resources:
          limits: {cpu: 0.10}
        command:
        - /exec
        - sh
      initContainers:
      - name: zero
        pem: |-
          a
          b
      - name: agent
        args:
        - -a
        - "b: c"
        - - 1.5
      # tail
)");
}

TEST(ApplyTest, LeavesAloneWhatAReplacementHasToo) {
    EXPECT_EQ(
        patched(
            "env:\n- name: KEY  # the key\n  value: 0x10   # wired\n  keep: [1.0, {x: 'y'}]\n",
            R"([{"op":"replace","path":"/env/0","value":{"keep":[1,{"x":"y"}],"name":"KEY","valueFrom":{"r":1}}}])"),
        "env:\n- name: KEY  # the key\n  keep: [1.0, {x: 'y'}]\n  valueFrom:\n    r: 1\n");
    EXPECT_EQ(patched("a: 0x10 # x\n", R"([{"op":"replace","path":"/a","value":16}])"), "a: 0x10 # x\n");
    EXPECT_EQ(patched("{\"a\": [1.0, 1e1]}", R"([{"op":"replace","path":"/a","value":[1.0,2]}])"),
              "{\"a\": [1.0, 2]}");
}

TEST(ApplyTest, RemovesEntriesWithTheirLines) {
    constexpr std::string_view text =
        "a:\n- name: x\n  v: 1\n# about y\n- name: y\n- {name: z}\nb: 1 # b\nc: {k: 1, l: 2}\n";
    EXPECT_EQ(patched(text, R"([{"op":"remove","path":"/a/0"}])"),
              "a:\n# about y\n- name: y\n- {name: z}\nb: 1 # b\nc: {k: 1, l: 2}\n");
    EXPECT_EQ(patched(text, R"([{"op":"remove","path":"/a/0/name"}])"),
              "a:\n- v: 1\n# about y\n- name: y\n- {name: z}\nb: 1 # b\nc: {k: 1, l: 2}\n");
    EXPECT_EQ(
        patched(
            text,
            R"([{"op":"remove","path":"/a/1"},{"op":"remove","path":"/a/1"},{"op":"remove","path":"/c/k"}])"),
        "a:\n- name: x\n  v: 1\n# about y\nb: 1 # b\nc: {l: 2}\n");
    EXPECT_EQ(patched(text, R"([{"op":"remove","path":"/b"},{"op":"remove","path":"/c"}])"),
              "a:\n- name: x\n  v: 1\n# about y\n- name: y\n- {name: z}\n");
    EXPECT_EQ(patched("a:\n  k: 1\nb: 2\n", R"([{"op":"remove","path":"/a/k"}])"), "a: {}\nb: 2\n");
    EXPECT_EQ(patched("a: 1 # x\nb: 2\n", R"([{"op":"remove","path":"/a"}])"), "b: 2\n");
}

TEST(ApplyTest, FollowsTheDocumentsOwnManner) {
    EXPECT_EQ(
        patched("a:\n    b:\n        - 1\n", R"([{"op":"add","path":"/a/c","value":{"d":{"e":["f"]}}}])"),
        "a:\n    b:\n        - 1\n    c:\n        d:\n            e:\n                - f\n");
    EXPECT_EQ(patched("a: 1\r\nb: 2\r\n", R"([{"op":"add","path":"/c","value":["x","l1\nl2"]}])"),
              "a: 1\r\nb: 2\r\nc:\r\n- x\r\n- \"l1\\nl2\"\r\n");
    EXPECT_EQ(patched("a: 1", R"([{"op":"add","path":"/c","value":[]}])"), "a: 1\nc: []");
    EXPECT_EQ(patched("a:\n# none\nb: 1\n", R"([{"op":"replace","path":"/a","value":{"x":null}}])"),
              "a:\n  x: null\n# none\nb: 1\n");
    EXPECT_EQ(patched("{a: 1, b: [1.0, 0x10]}\n", R"([{"op":"add","path":"/b/1","value":"x"}])"),
              "{a: 1, b: [1.0, \"x\", 0x10]}\n");
}

TEST(ApplyTest, QuotesWhatWouldBeSomethingElse) {
    const auto printed = [](std::string_view value) {
        return patched("a: 1\n", R"([{"op":"replace","path":"/a","value":)" + std::string(value) + "}]");
    };
    for (const char* text : {"yes",
                             "yEs",
                             "tRUE",
                             "No",
                             "y",
                             "on",
                             "true",
                             "null",
                             "~",
                             "012",
                             "0x1F",
                             "1e3",
                             ".5",
                             "1_000",
                             "12:30",
                             "2001-01-01",
                             "",
                             " x",
                             "x ",
                             "a: b",
                             "a #b",
                             "- x",
                             "#x",
                             "*a",
                             "&a",
                             "!t",
                             "=",
                             "<<",
                             "@x",
                             "%x",
                             "\xf0\x9f\x8e\x89",
                             "1.10"})
        EXPECT_EQ(printed("\"" + std::string(text) + "\""), "a: \"" + std::string(text) + "\"\n");
    for (const char* text :
         {"plain", "two words", "img/x:1.2", "--flag=x", "-x", "100m", "64Mi", "$(VAR)", "a/b.c_d-e"})
        EXPECT_EQ(printed("\"" + std::string(text) + "\""), "a: " + std::string(text) + "\n");
    EXPECT_EQ(printed(R"("it's \"x\"")"), "a: 'it''s \"x\"'\n");
    EXPECT_EQ(printed(R"("a\nb\n")"), "a: |\n  a\n  b\n");
    EXPECT_EQ(printed(R"("a\n\n")"), "a: \"a\\n\\n\"\n");
    EXPECT_EQ(printed(R"("\u0001\u0085\u2028\ufeff\u007f")"), "a: \"\\u0001\\u0085\\u2028\\ufeff\\u007f\"\n");
    EXPECT_EQ(printed("18446744073709551615"), "a: 18446744073709551615\n");
    EXPECT_EQ(printed("true"), "a: true\n");
    EXPECT_EQ(printed("null"), "a: null\n");
}

TEST(ApplyTest, ExpandsAliasesThatThePatchWouldChangeElsewhere) {
    constexpr std::string_view text =
        "# c\nbase: &b\n  env: [0.10]\n  num: 1_0\none: *b\ntwo:\n  <<: *b\n  own: 1\n";
    // Only `one` is changed.
    EXPECT_EQ(patched(text, R"([{"op":"add","path":"/one/env/0","value":"x"}])"),
              "# c\nbase: &b\n  env: [0.10]\n  num: 1_0\none:\n  env:\n  - x\n  - 0.10\n  num: 1_0\ntwo:\n  "
              "<<: *b\n  own: 1\n");
    EXPECT_EQ(patched(text, R"([{"op":"add","path":"/base/env/0","value":"x"}])"),
              "# c\nbase: &b\n  env: [\"x\", 0.10]\n  num: 1_0\none:\n  env:\n  - 0.10\n  num: 1_0\ntwo:\n  "
              "env:\n  - 0.10\n  num: 1_0\n  own: 1\n");
    EXPECT_EQ(
        patched(text, R"([{"op":"replace","path":"/two/num","value":2}])"),
        "# c\nbase: &b\n  env: [0.10]\n  num: 1_0\none: *b\ntwo:\n  env:\n  - 0.10\n  num: 2\n  own: 1\n");
    EXPECT_EQ(patched(text, R"([{"op":"remove","path":"/base"}])"),
              "# c\none:\n  env:\n  - 0.10\n  num: 1_0\ntwo:\n  env:\n  - 0.10\n  num: 1_0\n  own: 1\n");
    EXPECT_EQ(patched(text, R"([{"op":"add","path":"/z","value":1}])"), std::string(text) + "z: 1\n");
}

TEST(ApplyTest, KeepsJsonAsItIsSpelt) {
    EXPECT_EQ(
        patched(
            "{\n    \"a\": 1.0,\n    \"b\": [12345678901234567890, 1e3, 0.10],\n    \"c\": {}\n}\n",
            R"([{"op":"add","path":"/c/d","value":{"e":[1,"x"],"f":[]}},{"op":"add","path":"/b/0","value":"\u00e9\n"}])"),
        "{\n    \"a\": 1.0,\n    \"b\": [\"\xc3\xa9\\n\", 12345678901234567890, 1e3, 0.10],\n    "
        "\"c\": {\n        \"d\": {\n"
        "            \"e\": [\n                1,\n                \"x\"\n            ],\n            \"f\": "
        "[]\n        }\n    }\n}\n");
    EXPECT_EQ(patched("{\"a\":1.0,\"b\":{\"x\":2}}",
                      R"([{"op":"add","path":"/c","value":[true,{"y":null}]},{"op":"remove","path":"/a"}])"),
              "{\"b\":{\"x\":2},\"c\":[true,{\"y\":null}]}");
    EXPECT_EQ(patched("{\n  \"a\": 1,\n  \"b\": 2\n}",
                      R"([{"op":"remove","path":"/b"},{"op":"add","path":"/c","value":3}])"),
              "{\n  \"a\": 1,\n  \"c\": 3\n}");
    EXPECT_EQ(patched("[1,\n 2]", R"([{"op":"remove","path":"/0"}])"), "[2]");
}

TEST(ApplyTest, PrintsAnewWhatCannotBeEdited) {
    // The block scalar would get a line break more, were a line put behind it. It ends with one for kubectl
    // anyway.
    EXPECT_EQ(patched("a: |-\n  x", R"([{"op":"add","path":"/b","value":1}])"), "a: |-\n  x\nb: 1");
    EXPECT_EQ(patched("a: |+\n  x\n\nb: 1\n",
                      R"([{"op":"remove","path":"/b"},{"op":"add","path":"/c","value":1}])"),
              "a: |+\n  x\n\nc: 1\n");
    // A bare map within a flow list.
    EXPECT_EQ(patched("# lost\na: [b: 0.10]\n", R"([{"op":"add","path":"/a/0/c","value":1}])"),
              "# lost\na: [{b: 0.10, c: 1}]\n");
    EXPECT_EQ(patched("? a\n: 1\n? b\n", R"([{"op":"replace","path":"/b","value":2}])"), "a: 1\nb: 2\n");
}

TEST(ApplyTest, EditsBesideColonsWithinBrackets) {
    EXPECT_EQ(patched("a: [2001:db8::, z:]\nb: 1\n",
                      R"([{"op":"add","path":"/a/0","value":"n"},{"op":"replace","path":"/b","value":2}])"),
              "a: [\"n\", 2001:db8::, z:]\nb: 2\n");
    EXPECT_EQ(patched("a: [x, z:]\n", R"([{"op":"remove","path":"/a/0"}])"), "a: [z:]\n");
}

TEST(ApplyTest, SaysWhyAPatchedDocumentIsTooLarge) {
    const std::string deep = std::string(98, '[') + std::string(98, ']');
    EXPECT_TRUE(
        patched("a: 1\n", R"([{"op":"replace","path":"/a","value":)" + deep + "}]").ends_with(" []\n"));
    EXPECT_EQ(patched("# c\na: {b: {c: 1}}\n", R"([{"op":"replace","path":"/a/b/c","value":)" + deep + "}]"),
              "line 2: the patched document is too large: nested more than 100 levels deep; put fewer "
              "objects into one document");
}

TEST(ApplyTest, RefusesAPatchThatLeadsNowhere) {
    EXPECT_EQ(patched("a: 1\n", R"([{"op":"remove","path":"/b"}])"),
              "line 1: patch operation remove /b failed: the path does not exist");
    EXPECT_EQ(patched("a: 1\n", R"([{"op":"add","path":"/b/c","value":1}])"),
              "line 1: patch operation add /b/c failed: the path does not exist");
    EXPECT_EQ(patched("a: [1]\n", R"([{"op":"add","path":"/a/2","value":1}])"),
              "line 1: patch operation add /a/2 failed: the index is past the end of the array");
    EXPECT_EQ(patched("a: [1]\n", R"([{"op":"add","path":"/a/x","value":1}])"),
              "line 1: patch operation add /a/x failed: the last path segment is not an array index");
    EXPECT_EQ(patched("a: 1\n", R"([{"op":"move","path":"/a"}])"),
              "line 1: patch operation move /a failed: only add, replace and remove are supported");
    EXPECT_EQ(patched("a: 1\n", R"([{"op":"add","path":"/a"}])"),
              "line 1: patch operation add /a failed: the operation has no value");
    EXPECT_EQ(patched("a: 1\n", R"([{"op":"add","path":"a","value":1}])"),
              "line 1: patch operation add a failed: the path is not a JSON Pointer");
}

}  // namespace
}  // namespace keyshepherd::yaml
