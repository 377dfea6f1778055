#include "report.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace keyshepherd::launcher {

void print(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::write(fd, text.data(), text.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;  // nobody listens; the exit code still tells
        text.remove_prefix(static_cast<std::size_t>(n));
    }
}

int fail(int exit_code, const std::string& message) {
    const std::string line = "keyshepherd-exec: " + message + "\n";
    print(STDERR_FILENO, line);
    // Never created: kubelet mounts it, and outside a pod there is none. O_NONBLOCK in case it is something
    // odd.
    const int fd = ::open("/dev/termination-log", O_WRONLY | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0) {
        print(fd, line);
        ::close(fd);
    }
    return exit_code;
}

std::string cause(int error) {
    return std::string(": ") + std::strerror(error);
}

}  // namespace keyshepherd::launcher
