#include "commands.hpp"
#include "report.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace keyshepherd::launcher {

namespace {

// Empty when all went well, else what did not.
std::string copy(int from, int to) {
    static char block[64 * 1024];
    for (;;) {
        const ssize_t got = ::read(from, block, sizeof block);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return "cannot read /proc/self/exe" + cause(errno);
        if (got == 0) return {};
        for (ssize_t put = 0; put < got;) {
            const ssize_t n = ::write(to, block + put, static_cast<std::size_t>(got - put));
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return cause(errno);
            put += n;
        }
    }
}

}  // namespace

int install_command(Arguments arguments) {
    const std::string directory = arguments[0];
    const std::string target = directory + "/keyshepherd-exec";
    const int from = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (from < 0) return fail(exit_failure, "cannot read /proc/self/exe" + cause(errno));

    // A name of its own, then rename: a copy that runs at this moment goes on undisturbed, and nobody ever
    // sees half a program, whenever this is killed.
    std::string temporary = directory + "/.keyshepherd-exec.XXXXXX";
    const int to = ::mkstemp(temporary.data());
    if (to < 0) return fail(exit_failure, "cannot write to " + directory + cause(errno));
    std::string fault = copy(from, to);
    // By mode and not by umask: any user of the pod must be able to run it.
    if (fault.empty() && ::fchmod(to, 0555) != 0) fault = cause(errno);
    if (::close(to) != 0 && fault.empty()) fault = cause(errno);
    ::close(from);
    if (fault.empty() && ::rename(temporary.c_str(), target.c_str()) != 0) fault = cause(errno);
    if (fault.empty()) return 0;
    ::unlink(temporary.c_str());
    return fail(exit_failure, "cannot install " + target + (fault.starts_with(':') ? fault : ": " + fault));
}

}  // namespace keyshepherd::launcher
