// What the commands print. Text of files, of the cluster and of Vault is escaped here, so that it neither
// acts on a terminal nor passes for a line of ours.
#pragma once

#include <string>
#include <string_view>

namespace keyshepherd::app {

// One line on standard error each; `message` is printable() then.
void print_error(std::string_view message);
void print_warning(std::string_view message);
// A line that begins with its own word.
void print_diagnostic(std::string_view line);

// To standard output: byte for byte where it is a file or a pipe, as printable_lines() on a terminal. False,
// and an error is printed, when it cannot be written.
bool print_document(std::string_view text);
// The same for text that is escaped already, and may be coloured.
bool print_report(std::string_view text);

}  // namespace keyshepherd::app
