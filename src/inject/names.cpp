#include "names.hpp"

#include <keyshepherd/core/text.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace keyshepherd::inject {

namespace {

bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}
bool is_upper(char c) {
    return c >= 'A' && c <= 'Z';
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// Safe inside "…" of a Go template, and in a URL path once the agent has encoded it.
bool is_plain(char c) {
    return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f &&
           std::string_view("\"\\`{}#?%*").find(c) == std::string_view::npos;
}

// Whether every part between the separators is good; one that is empty is for `good` to judge.
template <class Good>
bool all_of_split(std::string_view text, char separator, Good good) {
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = std::min(text.find(separator, at), text.size());
        if (!good(text.substr(at, end - at))) return false;
        at = end + 1;
    }
    return true;
}

// The grammar of image references: https://pkg.go.dev/github.com/distribution/reference
bool is_tag(std::string_view text) {
    return !text.empty() && text.size() <= 128 && is_variable_character(text.front()) &&
           std::all_of(text.begin(), text.end(),
                       [](char c) { return is_variable_character(c) || c == '.' || c == '-'; });
}

// The algorithms that container runtimes know: https://pkg.go.dev/github.com/opencontainers/go-digest
bool is_digest(std::string_view text) {
    constexpr std::array<std::pair<std::string_view, std::size_t>, 3> algorithms = {
        {{"sha256:", 64}, {"sha384:", 96}, {"sha512:", 128}}};
    return std::any_of(algorithms.begin(), algorithms.end(), [&](const auto& algorithm) {
        const auto& [prefix, digits] = algorithm;
        return text.starts_with(prefix) && text.size() == prefix.size() + digits &&
               std::all_of(text.begin() + static_cast<std::ptrdiff_t>(prefix.size()), text.end(),
                           [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); });
    });
}

// Whether a part of `text` is as long and as mixed as keys and tokens are, or `text` has the form of a UUID,
// as Vault's secret-ids have: https://developer.hashicorp.com/vault/docs/auth/approle
bool may_be_a_key(std::string_view text) {
    constexpr std::size_t shorter_than_any_key = 16;
    if (text.size() < shorter_than_any_key) return false;
    std::size_t length = 0, dashes = 0;
    bool letter = false, digit = false;
    for (const char c : text) {
        if (!is_variable_character(c)) {
            length = 0;
            letter = digit = false;
            dashes += c == '-' ? 1 : 0;
            continue;
        }
        letter |= is_lower(c) || is_upper(c);
        digit |= is_digit(c);
        if (++length >= shorter_than_any_key && letter && digit) return true;
    }
    return text.size() == 36 && dashes == 4;
}

// Lower-case letters and digits with '.', '_', "__" or any number of '-' between them.
bool is_image_path_component(std::string_view text) {
    const auto alphanumeric = [](char c) { return is_lower(c) || is_digit(c); };
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t from = i;
        while (i < text.size() && alphanumeric(text[i])) ++i;
        if (i == from) return false;
        if (i == text.size()) return true;
        const std::size_t end = std::min(text.find_first_not_of(text[i], i), text.size());
        const std::size_t most = text[i] == '.' ? 1 : text[i] == '_' ? 2 : text[i] == '-' ? text.size() : 0;
        if (end - i > most) return false;
        i = end;
    }
    return false;
}

// A host with an optional port. An IPv6 address stands in brackets.
bool is_registry(std::string_view text) {
    const auto is_port = [](std::string_view port) {
        return !port.empty() && std::all_of(port.begin(), port.end(), is_digit);
    };
    if (text.starts_with('[')) {
        const std::size_t close = text.find(']');
        if (close == std::string_view::npos || close < 3) return false;
        const std::string_view address = text.substr(1, close - 1), rest = text.substr(close + 1);
        return address.find_first_not_of("0123456789abcdefABCDEF:") == std::string_view::npos &&
               (rest.empty() || (rest.front() == ':' && is_port(rest.substr(1))));
    }
    std::string_view host = text;
    if (const std::size_t colon = host.find(':'); colon != std::string_view::npos) {
        if (!is_port(host.substr(colon + 1))) return false;
        host = host.substr(0, colon);
    }
    return all_of_split(host, '.', [](std::string_view label) {
        return !label.empty() && label.front() != '-' && label.back() != '-' &&
               std::all_of(label.begin(), label.end(),
                           [](char c) { return (is_variable_character(c) && c != '_') || c == '-'; });
    });
}

}  // namespace

bool is_dns_label(std::string_view text) {
    if (text.empty() || text.size() > 63 || text.front() == '-' || text.back() == '-') return false;
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return is_lower(c) || is_digit(c) || c == '-'; });
}

bool is_dns_subdomain(std::string_view text) {
    if (text.empty() || text.size() > 253) return false;
    std::size_t at = 0;
    while (at <= text.size()) {
        const std::size_t dot = std::min(text.find('.', at), text.size());
        if (!is_dns_label(text.substr(at, dot - at))) return false;
        at = dot + 1;
    }
    return true;
}

bool is_variable_character(char c) {
    return is_lower(c) || is_upper(c) || is_digit(c) || c == '_';
}

bool is_variable_name(std::string_view text) {
    return !text.empty() && !is_digit(text.front()) && std::ranges::all_of(text, is_variable_character);
}

bool is_file_name(std::string_view text) {
    if (text.empty() || text.front() == '.' || text.front() == '-') return false;
    return std::all_of(text.begin(), text.end(), [](char c) {
        return is_lower(c) || is_upper(c) || is_digit(c) || c == '_' || c == '.' || c == '-';
    });
}

bool is_vault_name(std::string_view text) {
    return !text.empty() && text != "." && text != ".." && text.size() <= 512 && text.front() != ' ' &&
           text.back() != ' ' && text.find('/') == std::string_view::npos &&
           std::all_of(text.begin(), text.end(), is_plain);
}

bool is_vault_path(std::string_view text) {
    std::size_t at = 0;
    while (at <= text.size()) {
        const std::size_t slash = std::min(text.find('/', at), text.size());
        const std::string_view segment = text.substr(at, slash - at);
        // In a policy a segment `+` is any segment, and nothing escapes it.
        if (!is_vault_name(segment) || segment.find_first_not_of('+') == std::string_view::npos) return false;
        at = slash + 1;
    }
    return true;
}

bool is_vault_key(std::string_view text) {
    return !text.empty() && text.size() <= 512 && std::all_of(text.begin(), text.end(), is_plain);
}

bool is_audience(std::string_view text) {
    return !text.empty() && text.size() <= 512 &&
           std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

bool is_image(std::string_view text) {
    std::string_view name = text;
    if (const std::size_t at = name.find('@'); at != std::string_view::npos) {
        if (!is_digest(name.substr(at + 1))) return false;
        name = name.substr(0, at);
    }
    // A colon before the last slash is the port of the registry.
    if (const std::size_t colon = name.rfind(':');
        colon != std::string_view::npos && name.find('/', colon) == std::string_view::npos) {
        if (!is_tag(name.substr(colon + 1))) return false;
        name = name.substr(0, colon);
    }
    if (name.size() > 255) return false;
    std::string_view path = name;
    if (const std::size_t slash = name.find('/'); slash != std::string_view::npos) {
        const std::string_view first = name.substr(0, slash);
        const bool registry = first == "localhost" || first.find_first_of(".:") != std::string_view::npos ||
                              std::any_of(first.begin(), first.end(), is_upper);
        if (registry && !is_registry(first)) return false;
        if (registry) path = name.substr(slash + 1);
    }
    return all_of_split(path, '/', is_image_path_component);
}

std::string clipped(std::string_view name) {
    constexpr std::size_t most = 63;  // a DNS label
    if (name.size() <= most) return std::string(name);
    std::size_t end = most;
    while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xc0) == 0x80)
        --end;  // within a character of UTF-8
    return std::string(name.substr(0, end)) + "…";
}

std::string quoted(std::string_view text) {
    if (may_be_a_key(text)) return fmt::format("({} characters, hidden)", text.size());
    constexpr std::size_t most = 60;  // characters
    std::size_t end = text.size();
    if (end > most) {
        end = 0;
        for (std::size_t characters = 0; end < text.size() && characters < most; ++characters) {
            ++end;
            while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) ++end;
        }
    }
    const std::string_view shown = text.substr(0, end);
    const bool plain = std::all_of(shown.begin(), shown.end(), [](char c) { return c >= ' ' && c <= '~'; });
    std::string out = "\"";
    if (plain)
        out += shown;
    else
        out += printable(shown);
    return out += end < text.size() ? "…\"" : "\"";
}

}  // namespace keyshepherd::inject
