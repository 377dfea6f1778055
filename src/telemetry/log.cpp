#include <keyshepherd/core/text.hpp>
#include <keyshepherd/telemetry/log.hpp>

#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <iterator>

namespace keyshepherd::telemetry {

namespace {

constexpr std::size_t longest_value = 1024;
constexpr std::array<std::string_view, 5> level_names = {"trace", "debug", "info", "warn", "error"};
constexpr std::array<std::string_view, 2> format_names = {"json", "text"};

template <class T, std::size_t n>
result<T> parse_name(const std::array<std::string_view, n>& names, std::string_view name) {
    for (std::size_t i = 0; i < n; ++i)
        if (names[i] == name) return static_cast<T>(i);
    return fail(Errc::invalid,
                fmt::format("invalid value '{}': must be one of {}", name, fmt::join(names, ", ")));
}

void append_character(std::string& line, std::string_view sequence) {
    const char32_t character = character_of(sequence);
    if (!is_deceptive(character)) {
        line += sequence;
        return;
    }
    const auto append_unit = [&line](std::uint32_t unit) {
        fmt::format_to(std::back_inserter(line), "\\u{:04x}", unit);
    };
    if (character < 0x10000) return append_unit(character);
    append_unit(0xD800 + ((character - 0x10000) >> 10U));  // a pair of UTF-16 (RFC 8259)
    append_unit(0xDC00 + ((character - 0x10000) & 0x3FFU));
}

// As a JSON string, always valid: what is no UTF-8 becomes U+FFFD. What would deceive a reader of the line is
// escaped, which JSON allows for every character.
void append_quoted(std::string& line, std::string_view text) {
    const bool cut = text.size() > longest_value;
    std::size_t left = cut ? longest_value : text.size();
    line += '"';
    while (left > 0) {
        const std::size_t length = sequence_length(text);
        if (length > left) break;
        if (length == 0) {
            line += "\xEF\xBF\xBD";
        } else if (length > 1) {
            append_character(line, text.substr(0, length));
        } else {
            switch (const char c = text.front()) {
                case '"':
                    line += "\\\"";
                    break;
                case '\\':
                    line += "\\\\";
                    break;
                case '\n':
                    line += "\\n";
                    break;
                case '\r':
                    line += "\\r";
                    break;
                case '\t':
                    line += "\\t";
                    break;
                default:
                    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
                        fmt::format_to(std::back_inserter(line), "\\u{:04x}", static_cast<unsigned>(c));
                    else
                        line += c;
            }
        }
        const std::size_t step = std::max<std::size_t>(length, 1);
        text.remove_prefix(step);
        left -= step;
    }
    if (cut) line += "\xE2\x80\xA6";  // …
    line += '"';
}

bool plain(std::string_view text) {
    if (text.empty() || text.size() > longest_value) return false;
    return std::ranges::all_of(
        text, [](char c) { return c > 0x20 && c < 0x7F && c != '"' && c != '=' && c != '\\'; });
}

}  // namespace

result<Level> parse_level(std::string_view name) {
    return parse_name<Level>(level_names, name);
}
result<Format> parse_format(std::string_view name) {
    return parse_name<Format>(format_names, name);
}

void Field::append_to(std::string& line, Format format) const {
    if (const auto* text = std::get_if<std::string_view>(&value_)) {
        if (format == Format::text && plain(*text))
            line += *text;
        else
            append_quoted(line, *text);
    } else if (const auto* number = std::get_if<double>(&value_)) {
        if (std::isfinite(*number))
            fmt::format_to(std::back_inserter(line), "{}", *number);
        else
            line += "null";
    } else if (const auto* integer = std::get_if<std::int64_t>(&value_)) {
        fmt::format_to(std::back_inserter(line), "{}", *integer);
    } else {
        line += std::get<bool>(value_) ? "true" : "false";
    }
}

std::string encode(Format format, Level level, std::string_view msg, Fields fields) {
    std::string line;
    line.reserve(256);
    const std::string_view name = level_names[static_cast<std::size_t>(level)];
    if (format == Format::json) {
        fmt::format_to(std::back_inserter(line), "\"level\":\"{}\",\"msg\":", name);
        append_quoted(line, msg);
        for (const Field& field : fields) {
            line += ',';
            append_quoted(line, field.key());
            line += ':';
            field.append_to(line, format);
        }
    } else {
        fmt::format_to(std::back_inserter(line), "{:<5} {}", name, printable(msg));
        for (const Field& field : fields) {
            fmt::format_to(std::back_inserter(line), " {}=", field.key());
            field.append_to(line, format);
        }
    }
    return line;
}

Log::Log(Level level, Format format)
    : level_(level),
      format_(format),
      sink_(std::make_unique<spdlog::logger>("keyshepherd",
                                             std::make_shared<spdlog::sinks::stderr_sink_mt>())) {
    sink_->set_level(spdlog::level::trace);
    sink_->set_pattern(
        format == Format::json ? R"({"ts":"%Y-%m-%dT%H:%M:%S.%eZ",%v})" : "%Y-%m-%dT%H:%M:%S.%eZ %v",
        spdlog::pattern_time_type::utc);
    sink_->set_error_handler(
        [](const std::string&) {});  // a reader of ours that went away is no reason to stop
}

Log::Log(Log&&) noexcept = default;
Log& Log::operator=(Log&&) noexcept = default;
Log::~Log() = default;

void Log::write(Level level, std::string_view msg, Fields fields) {
    if (!enabled(level)) return;
    sink_->log(spdlog::level::info, spdlog::string_view_t(encode(format_, level, msg, fields)));
}

}  // namespace keyshepherd::telemetry
