#include "output.hpp"

#include <keyshepherd/core/text.hpp>

#include <unistd.h>

#include <iostream>

namespace keyshepherd::app {

void print_error(std::string_view message) {
    std::cerr << "error: " << printable(message) << '\n';
}

void print_warning(std::string_view message) {
    std::cerr << "warning: " << printable(message) << '\n';
}

void print_diagnostic(std::string_view line) {
    std::cerr << printable(line) << '\n';
}

bool print_document(std::string_view text) {
    return isatty(STDOUT_FILENO) == 1 ? print_report(printable_lines(text)) : print_report(text);
}

bool print_report(std::string_view text) {
    std::cout << text << std::flush;
    if (std::cout) return true;
    print_error("cannot write to standard output");
    return false;
}

}  // namespace keyshepherd::app
