#include "names.hpp"

#include <fmt/format.h>

#include <algorithm>

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
        if (!is_vault_name(text.substr(at, slash - at))) return false;
        at = slash + 1;
    }
    return true;
}

bool is_vault_key(std::string_view text) {
    return !text.empty() && text.size() <= 512 && std::all_of(text.begin(), text.end(), is_plain);
}

bool is_url(std::string_view text) {
    for (const std::string_view scheme : {"https://", "http://"}) {
        if (!text.starts_with(scheme)) continue;
        const std::string_view rest = text.substr(scheme.size());
        return !rest.empty() && rest.find_first_of(" \"\\@?#\t\n") == std::string_view::npos &&
               rest.front() != '/' && rest.front() != ':';
    }
    return false;
}

bool is_image(std::string_view text) {
    return !text.empty() && text.find_first_of(" \t\n\"") == std::string_view::npos;
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
    constexpr std::size_t shorter_than_any_key = 16;
    if (text.size() >= shorter_than_any_key) return fmt::format("a text of {} characters", text.size());
    std::string out = "\"";
    for (const char c : text) {
        const bool printable = static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x7f;
        out += printable && c != '"' ? c : '?';
    }
    out += '"';
    return out;
}

}  // namespace keyshepherd::inject
