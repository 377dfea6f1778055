// result<T>: a value, or an Error that says in one sentence what is wrong and what to do.
//
//     result<Config> read(std::string_view text);
//     KEYSHEPHERD_TRY(auto config, read(text));   // declares config, or returns the error
#pragma once

#include <expected>
#include <string>
#include <utility>

namespace keyshepherd {

// A closed set: retry, HTTP status and metric label are decided on these alone.
enum class Errc {
    invalid,      // what the caller or a user gave is wrong
    not_found,    // what was named does not exist
    too_large,    // past a limit of ours
    unavailable,  // the other side is away or refuses for now
    timeout,      // past a deadline
    cancelled,    // we stopped it ourselves
    internal,     // our own malfunction
};

struct Error {
    Errc code = Errc::internal;
    std::string message;

    Error(Errc code_, std::string message_) : code(code_), message(std::move(message_)) {}
};

template <class T>
using result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Errc code, std::string message) {
    return std::unexpected(Error(code, std::move(message)));
}

}  // namespace keyshepherd

#define KEYSHEPHERD_CONCAT_(a, b) a##b
#define KEYSHEPHERD_NAME_(line) KEYSHEPHERD_CONCAT_(keyshepherd_result_, line)
#define KEYSHEPHERD_TRY(declaration, expression)                                \
    auto KEYSHEPHERD_NAME_(__LINE__) = (expression);                            \
    if (!KEYSHEPHERD_NAME_(__LINE__))                                           \
        return std::unexpected(std::move(KEYSHEPHERD_NAME_(__LINE__)).error()); \
    declaration = std::move(KEYSHEPHERD_NAME_(__LINE__)).value()
