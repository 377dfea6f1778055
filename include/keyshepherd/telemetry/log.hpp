// One event a line on stderr: JSON for machines, or text for people.
//
//     log.info("certificate loaded", {{"notAfter", "2026-11-24T06:39:00Z"}, {"sessions", 3}});
//     {"ts":"2025-11-24T06:39:00.123Z","level":"info","msg":"certificate loaded","notAfter":"…","sessions":3}
//
// `msg` is constant, what varies is a key (camelCase). error: a human must act; warn: degraded; info: a
// change of state; debug: a request. Every value is escaped and cut at 1024 bytes. Safe from every thread; a
// line is written whole. A value out of a user's object, other than its identity, does not belong here.
#pragma once

#include <keyshepherd/core/result.hpp>

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

namespace spdlog {
class logger;  // NOLINT(readability-identifier-naming): spdlog's
}

namespace keyshepherd::telemetry {

enum class Level { trace, debug, info, warn, error };
enum class Format { json, text };

// Errc::invalid lists what would be right.
result<Level> parse_level(std::string_view name);
result<Format> parse_format(std::string_view name);

class Field {
public:
    Field(std::string_view key, std::string_view value) : key_(key), value_(value) {}
    Field(std::string_view key, const char* value) : key_(key), value_(std::string_view(value)) {}
    Field(std::string_view key, const std::string& value) : key_(key), value_(std::string_view(value)) {}
    Field(std::string_view key, std::same_as<bool> auto value) : key_(key), value_(value) {}
    Field(std::string_view key, std::floating_point auto value)
        : key_(key), value_(static_cast<double>(value)) {}
    template <std::integral T>
        requires(!std::same_as<T, bool>)
    Field(std::string_view key, T value) : key_(key), value_(static_cast<std::int64_t>(value)) {}

    std::string_view key() const { return key_; }
    void append_to(std::string& line, Format format) const;

private:
    std::string_view key_;
    std::variant<std::string_view, bool, double, std::int64_t> value_;
};

using Fields = std::initializer_list<Field>;

class Log {
public:
    Log(Level level, Format format);
    Log(Log&&) noexcept;
    Log& operator=(Log&&) noexcept;
    ~Log();

    bool enabled(Level level) const { return level >= level_; }
    void write(Level level, std::string_view msg, Fields fields);

    void trace(std::string_view msg, Fields fields = {}) { write(Level::trace, msg, fields); }
    void debug(std::string_view msg, Fields fields = {}) { write(Level::debug, msg, fields); }
    void info(std::string_view msg, Fields fields = {}) { write(Level::info, msg, fields); }
    void warn(std::string_view msg, Fields fields = {}) { write(Level::warn, msg, fields); }
    void error(std::string_view msg, Fields fields = {}) { write(Level::error, msg, fields); }

private:
    Level level_;
    Format format_;
    std::unique_ptr<spdlog::logger> sink_;  // adds the time and writes
};

// What a line says after its time. Apart for the tests.
std::string encode(Format format, Level level, std::string_view msg, Fields fields);

}  // namespace keyshepherd::telemetry
