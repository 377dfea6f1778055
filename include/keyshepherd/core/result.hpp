// result<T>: a value, or an Error that says in one sentence what is wrong and what to do.
//
//     result<Config> read(std::string_view text);
//     KEYSHEPHERD_TRY(auto config, read(text));   // declares config, or returns the error
#pragma once

#include <chrono>
#include <expected>
#include <string>
#include <utility>

namespace keyshepherd {

// A closed set: retry, HTTP status and metric label are decided on these alone.
enum class Errc {
    invalid,       // what the caller or a user gave is wrong
    unauthorized,  // the other side does not know who we are
    forbidden,     // it knows, and refuses
    disallowed,    // our own settings keep us from turning to it
    unlabeled,     // the object lacks the label by which its owner lets us use it
    not_found,     // what was named does not exist
    conflict,      // what was named has changed meanwhile, or exists already, or is someone else's
    gone,          // a place in a history that is kept no longer
    too_large,     // past a limit of ours
    throttled,     // the other side asks for less
    unavailable,   // the other side is away or refuses for now
    timeout,       // past a deadline
    cancelled,     // we stopped it ourselves
    protocol,      // the other side does not speak as it should
    internal,      // our own malfunction
};

// What the other side said beyond the code, for the few callers that have to tell it apart. A message is for
// people: nothing is ever decided on its text.
enum class Detail {
    none,
    already_exists,  // of a conflict: the object to create is there
    sealed,          // of unavailable: Vault is sealed
    unknown_ca,      // of unavailable: no CA that we trust signed the server's certificate
    other_name,      // of unavailable: the server's certificate is for other names
    login_refused,   // of unauthorized: Vault refused the credentials of a login
    login_locked,    // likewise, as it does while it has locked the name of a login
    list_changed,    // of unavailable: an entry ended while Vault listed it
};

struct Error {
    Errc code = Errc::internal;
    std::string message;
    std::chrono::seconds retry_after{0};  // what the other side asks to wait; 0: nothing was said
    Detail detail = Detail::none;

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
// The same in a coroutine. `expression` holds the co_await, and no temporary that is more than a name.
#define KEYSHEPHERD_CO_TRY(declaration, expression)                                \
    auto KEYSHEPHERD_NAME_(__LINE__) = (expression);                               \
    if (!KEYSHEPHERD_NAME_(__LINE__))                                              \
        co_return std::unexpected(std::move(KEYSHEPHERD_NAME_(__LINE__)).error()); \
    declaration = std::move(KEYSHEPHERD_NAME_(__LINE__)).value()
// For a result<void>.
#define KEYSHEPHERD_CO_CHECK(expression)                                               \
    if (auto KEYSHEPHERD_NAME_(__LINE__) = (expression); !KEYSHEPHERD_NAME_(__LINE__)) \
    co_return std::unexpected(std::move(KEYSHEPHERD_NAME_(__LINE__)).error())
#define KEYSHEPHERD_TRY_CHECK(expression)                                              \
    if (auto KEYSHEPHERD_NAME_(__LINE__) = (expression); !KEYSHEPHERD_NAME_(__LINE__)) \
    return std::unexpected(std::move(KEYSHEPHERD_NAME_(__LINE__)).error())
