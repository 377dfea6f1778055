#include "agent_log.hpp"
#include "commands.hpp"
#include "printable.hpp"
#include "report.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>

namespace keyshepherd::launcher {

namespace {

// An event's text is cut at 1024 bytes, "Startup probe failed: " included.
constexpr std::size_t longest_output = 1000;
// The last complaint may have a few dozen info lines behind it.
constexpr std::size_t tail_size = 16 * 1024;

bool later(const timespec& a, const timespec& b) {
    return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

// Agents put a time into the name of a log that they rotate: agent.log is then agent-1767225600.log.
std::string newest_rotation(std::string_view log) {
    const std::size_t slash = log.rfind('/');
    const std::string directory(slash == std::string_view::npos ? "." : log.substr(0, slash + 1));
    const std::string_view file = slash == std::string_view::npos ? log : log.substr(slash + 1);
    const std::size_t dot = file.rfind('.');
    const std::string stem = std::string(file.substr(0, dot)) + "-";
    const std::string_view extension = dot == std::string_view::npos ? std::string_view() : file.substr(dot);

    DIR* stream = ::opendir(directory.c_str());
    if (!stream) return {};
    std::string newest;
    timespec newest_time{};
    while (const dirent* entry = ::readdir(stream)) {
        const std::string_view name = entry->d_name;
        struct stat about{};
        if (name.size() <= stem.size() + extension.size() || !name.starts_with(stem) ||
            !name.ends_with(extension) || ::fstatat(::dirfd(stream), entry->d_name, &about, 0) != 0 ||
            !S_ISREG(about.st_mode))
            continue;
        const bool same_time = !later(about.st_mtim, newest_time) && !later(newest_time, about.st_mtim);
        if (newest.empty() || later(about.st_mtim, newest_time) || (same_time && name > newest)) {
            newest = name;
            newest_time = about.st_mtim;
        }
    }
    ::closedir(stream);
    return newest.empty() ? newest : directory + "/" + newest;
}

std::string words_of_agent(const std::string& log) {
    int fd = ::open(log.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        const std::string rotation = newest_rotation(log);
        if (rotation.empty())
            return "the agent has not started yet (missing log file " + printable(log) + ")";
        fd = ::open(rotation.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    }
    if (fd < 0) return "the agent's log " + printable(log) + " cannot be read" + cause(errno);

    static char tail[tail_size];
    const off_t size = ::lseek(fd, 0, SEEK_END);
    off_t at = size > static_cast<off_t>(tail_size) ? size - static_cast<off_t>(tail_size) : 0;
    const bool from_start = at == 0;
    std::size_t used = 0;
    while (used < tail_size) {
        const ssize_t n = ::pread(fd, tail + used, tail_size - used, at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        used += static_cast<std::size_t>(n);
        at += n;
    }
    ::close(fd);
    std::string words = last_words({tail, used}, from_start);
    return words.empty() ? "the agent has not logged anything yet (" + printable(log) + ")" : words;
}

}  // namespace

int probe_command(Arguments files_and_log) {
    std::string waiting;
    for (const char* file : files_and_log.first(files_and_log.size() - 1)) {
        struct stat about{};
        const char* why = nullptr;
        if (::stat(file, &about) != 0)
            why = errno == ENOENT || errno == ENOTDIR ? " does not exist yet" : " cannot be accessed";
        else if (!S_ISREG(about.st_mode))
            why = " is not a regular file";
        else if (about.st_size == 0)
            why = " is empty";
        if (why) waiting += (waiting.empty() ? "" : ", ") + printable(file) + why;
    }
    if (waiting.empty()) return 0;
    // On stdout, and not into the termination message: this runs beside the agent, not as it.
    const std::string words = words_of_agent(files_and_log.back());
    constexpr std::size_t room_for_files = 300;
    print(STDOUT_FILENO,
          shortened(shortened(std::move(waiting), room_for_files) + "; " + words, longest_output - 1) + "\n");
    return exit_failure;
}

}  // namespace keyshepherd::launcher
