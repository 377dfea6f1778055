// YAML and JSON documents, with the meaning that kubectl gives them (sigs.k8s.io/yaml: YAML 1.1 scalars), and
// edits that change only what a patch changes: order, comments, spelling of numbers and quotes stay.
//
//     KEYSHEPHERD_TRY(const auto documents, yaml::read(text));
//     KEYSHEPHERD_TRY(const std::string edited, yaml::apply(documents[0], patch));
//
// Pure. The documents' separators and sources, one after the other, are the stream, byte for byte.
#pragma once

#include <keyshepherd/json/value.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::yaml {

enum class Format { yaml, json };

struct Document {
    json::value json;       // null for an empty document
    std::string source;     // the document's own bytes, without its separator line
    std::size_t line = 1;   // where its content starts, from 1
    std::string separator;  // what stands before `source`: the `---` line, directives, a byte order mark
    Format format = Format::yaml;
};

// Splits a stream into documents and converts each. A document that starts with { or [ is JSON if it can be
// read so. Stricter than kubectl where kubectl loses something: a repeated key and text behind `...` are
// refused. Errc::invalid names the place; Errc::too_large a limit (depth 100, four million nodes, 64 MiB of
// text, aliases counted as expanded and held to goyaml.v2's ratio).
result<std::vector<Document>> read(std::string_view stream);

// A stretch of a source, in bytes, and what stands there instead.
struct Edit {
    std::size_t begin;
    std::size_t end;
    std::string text;
};

// What `patch` (RFC 6902: add, replace, remove) changes in `document.source`: edits in ascending order that
// do not overlap. Aliases that the patch would change in more than one place are expanded; where that is not
// enough, one edit replaces the whole source. The edited source is read back: it means what the patch says.
// Errc::too_large where it would pass a limit of read().
result<std::vector<Edit>> edits(const Document& document, const json::array& patch);

// `source` with such edits.
std::string edited(std::string_view source, const std::vector<Edit>& edits);

// The source of `document` with the edits of `patch`.
result<std::string> apply(const Document& document, const json::array& patch);

// Finds lines in the stream that `document` was read from. The document is parsed once, for the first
// question; it outlives this. Not for use by two threads at once.
class Lines {
public:
    explicit Lines(const Document& document);
    ~Lines();

    // Of what `pointer` (RFC 6901) leads to; document.line when it leads nowhere.
    std::size_t at(std::string_view pointer);

private:
    struct Index;
    const Document& document_;
    std::unique_ptr<Index> index_;
};

}  // namespace keyshepherd::yaml
