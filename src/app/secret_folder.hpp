// The files of one secret-id: <--secrets-dir>/<namespace>/<name>/… Only their owner can read them, and nobody
// else can put anything in their place: a folder that others can write to is refused, and no symbolic link is
// followed below --secrets-dir.
#pragma once

#include <keyshepherd/core/result.hpp>

#include <optional>
#include <string>
#include <utility>

namespace keyshepherd::app {

class SecretFolder {
public:
    struct File {
        std::string text;      // the caller wipes it
        bool is_ours = false;  // 0600, and of this user
    };

    // Makes what is missing, with mode 0700, and keeps every other process out that comes by make().
    // Errc::forbidden: others can write to it; conflict: another process has it; invalid: `ns` or `name` is
    // no name of a folder.
    static result<SecretFolder> make(const std::string& secrets_dir, const std::string& ns,
                                     const std::string& name);
    // nullopt: it is not there. Makes nothing, and waits for nobody.
    static result<std::optional<SecretFolder>> find(const std::string& secrets_dir, const std::string& ns,
                                                    const std::string& name);

    // nullopt: absent.
    result<std::optional<File>> read(const std::string& name) const;
    // The file is the old one or the new one at every instant, also after a loss of power.
    result<void> write(const std::string& name, const std::string& text) const;
    // Success also when it was absent.
    result<void> remove(const std::string& name) const;

private:
    class Descriptor {
    public:
        explicit Descriptor(int number = -1) : number_(number) {}
        ~Descriptor();
        Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
        Descriptor& operator=(Descriptor&& other) noexcept {
            std::swap(number_, other.number_);
            return *this;
        }
        int get() const { return number_; }

    private:
        int number_;
    };

    SecretFolder(Descriptor folder, std::string path) : folder_(std::move(folder)), path_(std::move(path)) {}
    static result<std::optional<SecretFolder>> open(const std::string& secrets_dir, const std::string& ns,
                                                    const std::string& name, bool make);
    static result<std::optional<Descriptor>> enter(int parent, const std::string& name,
                                                   const std::string& path, bool make);

    Descriptor folder_;
    std::string path_;
};

}  // namespace keyshepherd::app
