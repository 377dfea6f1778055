// Texts of others on their way into logs, conditions and events of ours.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace keyshepherd {

// The beginning of UTF-8 text: at most `longest` bytes, and no part of a character at its end.
std::string_view beginning(std::string_view text, std::size_t longest);

// The same on one line, with "…" behind it when something was left out: blanks and control characters in a
// row become one space, and those at either end go; the rest is printable().
std::string one_line(std::string_view text, std::size_t longest);

// Text of others for a terminal or a log: one line in which nothing acts on the terminal or changes the order
// of what is read. A tab stays. Escaped are C0 and C1 controls and DEL (as \n, \r or \x1b), bytes that are no
// UTF-8 (as \xff), and characters that are invisible, break a line or reverse the direction of text, such as
// U+202E (as \u{202e}): https://www.unicode.org/reports/tr36/, https://trojansource.codes.
std::string printable(std::string_view text);

// The same line by line: what separates the lines of `text` stays. For a document that is printed as it is.
std::string printable_lines(std::string_view text);

// Whether a reader may mistake the character for another or for none: those that printable() escapes, beyond
// ASCII.
bool is_deceptive(char32_t character);

// The length of the UTF-8 sequence at the start of `text`; 0 when it is none (RFC 3629: no overlong form, no
// surrogate).
std::size_t sequence_length(std::string_view text);

// The character of a sequence of that length.
char32_t character_of(std::string_view sequence);

}  // namespace keyshepherd
