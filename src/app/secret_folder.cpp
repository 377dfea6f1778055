#include "secret_folder.hpp"

#include <keyshepherd/net/wiped.hpp>
#include <keyshepherd/reconcile/failpoint.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace keyshepherd::app {

namespace {

constexpr std::size_t most_bytes = 65'536;  // of one file

std::unexpected<Error> failed(const std::string& path, const char* what) {
    return fail(errno == EACCES || errno == EPERM ? Errc::forbidden : Errc::unavailable,
                fmt::format("{}: {}: {}", path, what, std::strerror(errno)));
}

// What a write leaves behind when the process dies in it.
std::string unfinished(const std::string& name) {
    return fmt::format("{}{}.new", name.starts_with('.') ? "" : ".", name);
}

result<void> check_name(const std::string& name, const char* field) {
    if (name.empty() || name.starts_with('.') || name.size() > 253 ||
        name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-") != std::string::npos)
        return fail(Errc::invalid, fmt::format("{} is used as a directory name below --secrets-dir, but "
                                               "\"{}\" is not a valid Kubernetes name",
                                               field, name));
    return result<void>();
}

result<void> check_folder(int folder, const std::string& path) {
    struct stat is{};
    if (fstat(folder, &is) != 0) return failed(path, "cannot stat");
    if (is.st_uid != geteuid() && is.st_uid != 0)
        return fail(Errc::forbidden,
                    fmt::format("{} belongs to another user; use a directory that belongs to you", path));
    if ((is.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return fail(
            Errc::forbidden,
            fmt::format(
                "other users can write to {} (mode {:04o}); run chmod go-w on it, or use another directory",
                path, is.st_mode & 07777U));
    return result<void>();
}

// Creates the folders above --secrets-dir that are missing, as `mkdir -p` does. Nothing secret is in them,
// and the application has to pass through them: 0755.
result<void> make_parents(std::string_view secrets_dir) {
    while (secrets_dir.size() > 1 && secrets_dir.ends_with('/')) secrets_dir.remove_suffix(1);
    for (auto slash = secrets_dir.find('/', 1); slash != std::string_view::npos;
         slash = secrets_dir.find('/', slash + 1)) {
        const std::string parent(secrets_dir.substr(0, slash));
        if (mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) {
            // A folder that is there may be in one that only others may write to.
            struct stat is{};
            const int why = errno;
            if (stat(parent.c_str(), &is) == 0) continue;
            errno = why;
            return failed(parent, "cannot create");
        }
    }
    return result<void>();
}

}  // namespace

SecretFolder::Descriptor::~Descriptor() {
    if (number_ >= 0) close(number_);
}

result<std::optional<SecretFolder::Descriptor>> SecretFolder::enter(int parent, const std::string& name,
                                                                    const std::string& path, bool make) {
    if (make) {
        if (mkdirat(parent, name.c_str(), 0700) == 0) {
            if (parent != AT_FDCWD && fsync(parent) != 0) return failed(path, "cannot fsync");
        } else if (errno != EEXIST) {
            return failed(path, "cannot create");
        }
    }
    // Where --secrets-dir itself leads is its giver's affair.
    const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (parent == AT_FDCWD ? 0 : O_NOFOLLOW);
    Descriptor folder(openat(parent, name.c_str(), flags));
    if (folder.get() < 0 && errno == ENOENT && !make) return std::nullopt;
    if (folder.get() < 0) return failed(path, "cannot open the directory");
    KEYSHEPHERD_TRY_CHECK(check_folder(folder.get(), path));
    return folder;
}

result<std::optional<SecretFolder>> SecretFolder::open(const std::string& secrets_dir, const std::string& ns,
                                                       const std::string& name, bool make) {
    KEYSHEPHERD_TRY_CHECK(check_name(ns, "metadata.namespace"));
    KEYSHEPHERD_TRY_CHECK(check_name(name, "spec.secretName"));
    std::string path = secrets_dir;
    if (make) KEYSHEPHERD_TRY_CHECK(make_parents(secrets_dir));
    KEYSHEPHERD_TRY(auto folder, enter(AT_FDCWD, secrets_dir, path, make));
    for (const std::string& each : {ns, name}) {
        if (!folder) return std::nullopt;
        path += "/" + each;
        KEYSHEPHERD_TRY(folder, enter(folder->get(), each, path, make));
    }
    if (!folder) return std::nullopt;
    return SecretFolder(*std::move(folder), std::move(path));
}

result<SecretFolder> SecretFolder::make(const std::string& secrets_dir, const std::string& ns,
                                        const std::string& name) {
    KEYSHEPHERD_TRY(auto folder, open(secrets_dir, ns, name, true));
    if (!folder) return fail(Errc::internal, secrets_dir + ": the directory does not exist");
    if (flock(folder->folder_.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return fail(Errc::conflict, folder->path_ +
                                            ": another process is using the directory; wait until it ends, "
                                            "and run the command again");
        return failed(folder->path_, "cannot lock");
    }
    return *std::move(folder);
}

result<std::optional<SecretFolder>> SecretFolder::find(const std::string& secrets_dir, const std::string& ns,
                                                       const std::string& name) {
    return open(secrets_dir, ns, name, false);
}

result<std::optional<SecretFolder::File>> SecretFolder::read(const std::string& name) const {
    const std::string path = path_ + "/" + name;
    // A FIFO in its place would wait for a writer.
    const Descriptor in(openat(folder_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (in.get() < 0 && errno == ENOENT) return std::nullopt;
    if (in.get() < 0) return failed(path, "cannot open");
    struct stat is{};
    if (fstat(in.get(), &is) != 0) return failed(path, "cannot stat");
    if (!S_ISREG(is.st_mode)) return fail(Errc::invalid, path + " is not a regular file");
    File file{.text = {}, .is_ours = is.st_uid == geteuid() && (is.st_mode & 07777U) == 0600U};
    std::array<char, 4'096> buffer{};
    ssize_t n = 0;
    while ((n = ::read(in.get(), buffer.data(), buffer.size())) > 0) {
        net::append_wiping(file.text, std::string_view(buffer.data(), static_cast<std::size_t>(n)));
        if (file.text.size() > most_bytes) break;
    }
    OPENSSL_cleanse(buffer.data(), buffer.size());
    if (n < 0) return failed(path, "cannot read");
    if (file.text.size() > most_bytes)
        return fail(Errc::too_large, fmt::format("{} has more than {} bytes", path, most_bytes));
    return file;
}

result<void> SecretFolder::write(const std::string& name, const std::string& text) const {
    const std::string path = path_ + "/" + name;
    const std::string fresh = unfinished(name);
    if (unlinkat(folder_.get(), fresh.c_str(), 0) != 0 && errno != ENOENT)
        return failed(path, "cannot remove the temporary file of an earlier write");
    const Descriptor out(
        openat(folder_.get(), fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (out.get() < 0) return failed(path, "cannot create");
    if (fchmod(out.get(), 0600) != 0) return failed(path, "cannot set mode 0600");
    for (std::size_t at = 0; at < text.size();) {
        const ssize_t n = ::write(out.get(), text.data() + at, text.size() - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed(path, "cannot write");
        at += static_cast<std::size_t>(n);
    }
    if (fsync(out.get()) != 0) return failed(path, "cannot fsync");
    failpoint("file");
    if (renameat(folder_.get(), fresh.c_str(), folder_.get(), name.c_str()) != 0)
        return failed(path, "cannot rename the temporary file");
    if (fsync(folder_.get()) != 0) return failed(path_, "cannot fsync");
    return result<void>();
}

result<void> SecretFolder::remove(const std::string& name) const {
    for (const std::string& each : {name, unfinished(name)})
        if (unlinkat(folder_.get(), each.c_str(), 0) != 0 && errno != ENOENT)
            return failed(path_ + "/" + each, "cannot remove");
    if (fsync(folder_.get()) != 0) return failed(path_, "cannot fsync");
    return result<void>();
}

}  // namespace keyshepherd::app
