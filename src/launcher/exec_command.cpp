#include "commands.hpp"
#include "printable.hpp"
#include "references.hpp"
#include "report.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::launcher {

namespace {

constexpr const char* default_directory = "/keyshepherd/env";
// What containerd and Docker put in when an image has no PATH.
constexpr std::string_view default_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr const char* way_out =
    ". The Vault agent writes these files: check the log of container keyshepherd-agent and the "
    "keyshepherd.dev annotations of the workload";

std::string read_whole(const std::string& path, std::string& text) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return "cannot read " + path + cause(errno);
    std::string fault;
    constexpr std::size_t block = 16 * 1024;
    std::size_t used = 0;
    for (;;) {
        text.resize(used + block);
        const ssize_t n = ::read(fd, text.data() + used, block);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fault = "cannot read " + path + cause(errno);
        if (n <= 0) break;
        used += static_cast<std::size_t>(n);
    }
    text.resize(used);
    ::close(fd);
    return fault;
}

// Every *.env of the directory as a shell's pattern would list it: sorted, no hidden ones. Only files, looked
// at before they are opened: a FIFO of that name must not hang the start of the application.
std::string read_env_files(const std::string& directory, std::vector<EnvText>& files) {
    DIR* stream = ::opendir(directory.c_str());
    if (!stream) return "cannot read directory " + directory + cause(errno);
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(stream)) {
        const std::string_view name = entry->d_name;
        if (name.ends_with(".env") && !name.starts_with('.')) names.emplace_back(name);
    }
    ::closedir(stream);
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
        EnvText file{directory + "/" + name, {}};
        struct stat about{};
        if (::stat(file.path.c_str(), &about) == 0 && !S_ISREG(about.st_mode)) continue;
        if (std::string fault = read_whole(file.path, file.text); !fault.empty()) return fault;
        files.push_back(std::move(file));
    }
    return {};
}

std::string joined(const std::vector<std::string>& parts, const char* separator) {
    std::string out;
    for (const std::string& part : parts) out += (out.empty() ? "" : separator) + part;
    return out;
}

// execve, and the exit code and words for a failure. Not execvpe: that hands a file without "#!" to a shell,
// which the container runtime would not have done with the same command.
int become(char* const* argv, char* const* environment) {
    const std::string_view program = argv[0];
    const std::string shown = printable(program);
    auto refused = [&](const std::string& path, int error) {
        std::string why = printable(path) + " cannot be executed" + cause(error);
        if (error == ENOENT) why = printable(path) + " exists, but its interpreter or loader does not";
        if (error == ENOEXEC) why += " (not an executable for this machine, and no \"#!\" line)";
        if (error == E2BIG)
            why += " (arguments and environment are too large; the limit is 128 KiB per variable)";
        return fail(exit_not_executable, why);
    };
    if (program.find('/') != std::string_view::npos) {
        ::execve(argv[0], argv, environment);
        const int error = errno;
        if ((error == ENOENT && ::access(argv[0], F_OK) != 0) || error == ENOTDIR)
            return fail(exit_not_found, shown + cause(error));
        return refused(std::string(program), error);
    }

    std::string_view search = default_path;
    for (char* const* entry = environment; *entry; ++entry) {
        if (std::string_view(*entry).starts_with("PATH=")) {
            search = std::string_view(*entry).substr(5);
            break;
        }
    }
    std::string candidate, refused_path;
    int refused_error = 0;
    for (bool more = !program.empty(); more;) {
        const std::size_t colon = search.find(':');
        const std::string_view directory = search.substr(0, colon);
        more = colon != std::string_view::npos;
        if (more) search.remove_prefix(colon + 1);
        candidate.assign(directory).append(directory.empty() ? "" : "/").append(program);
        ::execve(candidate.c_str(), argv, environment);
        const int error = errno;
        const bool absent = (error == ENOENT || error == ENOTDIR) && ::access(candidate.c_str(), F_OK) != 0;
        if (absent || error == ESTALE || error == ENODEV || error == ETIMEDOUT || error == ENAMETOOLONG)
            continue;
        // One that may not be executed does not hide one further on that may.
        if (!refused_error) {
            refused_error = error;
            refused_path = candidate;
        }
        if (error != EACCES && error != ENOENT) break;
    }
    if (refused_error) return refused(refused_path, refused_error);
    return fail(exit_not_found, "program \"" + shown + "\" not found in PATH");
}

}  // namespace

int exec_command(Arguments program) {
    std::vector<char*> environment;
    std::vector<std::size_t> places;
    std::vector<std::string_view> names;
    for (char** entry = ::environ; *entry; ++entry) {
        const std::string_view text = *entry;
        const std::size_t equals = text.find('=');
        if (equals != std::string_view::npos && is_reference(text.substr(equals + 1))) {
            places.push_back(environment.size());
            names.push_back(text.substr(0, equals));
        }
        environment.push_back(*entry);
    }
    environment.push_back(nullptr);
    if (names.empty()) return become(program.data(), environment.data());

    // From here on this memory holds keys: no core file of it, no tracing by others of the same user. The
    // exec resets it, so the application starts as it always did.
    ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);

    const char* named = std::getenv("KEYSHEPHERD_ENV_DIR");
    const std::string directory = named && *named ? named : default_directory;
    std::vector<EnvText> files;
    if (const std::string fault = read_env_files(directory, files); !fault.empty()) {
        std::vector<std::string> shown;
        for (const std::string_view name : names) shown.push_back(printable(name));
        return fail(exit_configuration, "no value for " + joined(shown, ", ") + ": " + fault + way_out);
    }
    Resolved resolved = resolve(names, files);
    if (!resolved.missing.empty())
        resolved.faults.push_back("no *.env file in " + directory + " defines " +
                                  joined(resolved.missing, ", ") +
                                  ", whose value in the environment is keyshepherd:<path>#<key>");
    if (!resolved.faults.empty()) return fail(exit_configuration, joined(resolved.faults, "; ") + way_out);

    std::vector<std::string> entries(names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
        entries[i].reserve(names[i].size() + 1 + resolved.values[i].size());
        entries[i].append(names[i]).append("=").append(resolved.values[i]);
        environment[places[i]] = entries[i].data();
    }
    return become(program.data(), environment.data());
}

}  // namespace keyshepherd::launcher
