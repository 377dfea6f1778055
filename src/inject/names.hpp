// What may stand in the names that users type. Everything that ends inside an agent template is checked here,
// so that no annotation can break out of it.
#pragma once

#include <string>
#include <string_view>

namespace keyshepherd::inject {

bool is_dns_label(std::string_view text);      // RFC 1123, at most 63: names of containers and providers
bool is_dns_subdomain(std::string_view text);  // RFC 1123, at most 253: names of Secrets
bool is_variable_name(std::string_view text);  // C identifier: what kubelet's env files can carry
bool is_file_name(std::string_view text);
bool is_vault_name(std::string_view text);  // one path segment
bool is_vault_path(std::string_view text);  // segments separated by single slashes
bool is_vault_key(std::string_view text);   // a field of a secret
bool is_audience(std::string_view text);    // printable ASCII without a space
// [REGISTRY[:PORT]/]PATH[:TAG][@DIGEST], as container runtimes read it; a digest is sha256, sha384 or sha512.
bool is_image(std::string_view text);

bool is_variable_character(char c);  // a letter, a digit or '_'

// The first 63 characters of a name that an object holds, for a message: no message may grow with the object.
std::string clipped(std::string_view name);

// The first ten of `names`, and how many there are; "(none)" where there are none.
template <class Names>
std::string some_of(Names&& names) {
    constexpr std::size_t most = 10;
    std::string text;
    std::size_t count = 0;
    for (const auto& name : names)
        if (count++ < most) text += (text.empty() ? "" : ", ") + clipped(name);
    if (count == 0) return "(none)";
    return count <= most ? text : text + ", … (" + std::to_string(count) + " in total)";
}

// For messages about an image.
inline constexpr std::string_view image_example =
    "an image such as openbao/openbao:2.7.2 or openbao/openbao@sha256:<64 hex digits>";

// A value of an annotation or a flag in a message: its first 60 characters in quotes, on one line as
// printable(), with "…" where there are more. Of a text that may be a key, a token or a secret-id put into
// the wrong place only the length: no message may carry one.
std::string quoted(std::string_view text);

}  // namespace keyshepherd::inject
