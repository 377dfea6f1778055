#include "input_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

namespace keyshepherd::app {

namespace {

namespace fs = std::filesystem;

result<std::string> read_all(std::FILE* in, const std::string& name) {
    std::string text;
    std::array<char, 65'536> buffer;
    while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), in))
        text.append(buffer.data(), n);
    if (std::ferror(in) != 0)
        return fail(Errc::unavailable, fmt::format("{}: cannot be read: {}", name, std::strerror(errno)));
    return text;
}

result<std::string> read_file(const std::string& name) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> in(std::fopen(name.c_str(), "rb"), &std::fclose);
    if (!in)
        return fail(Errc::not_found, fmt::format("{}: cannot be opened: {}", name, std::strerror(errno)));
    return read_all(in.get(), name);
}

bool is_manifest(const fs::path& path) {
    constexpr std::array<std::string_view, 3> extensions = {".yaml", ".yml", ".json"};
    return std::ranges::find(extensions, path.extension().string()) != extensions.end();
}

template <class Iterator>
result<std::vector<std::string>> manifests_below(const std::string& directory) {
    std::vector<std::string> names;
    std::error_code error;
    for (Iterator at(directory, error), end; !error && at != end; at.increment(error)) {
        std::error_code ignored;
        if (is_manifest(at->path()) && !at->is_directory(ignored)) names.push_back(at->path().string());
    }
    if (error)
        return fail(Errc::unavailable,
                    fmt::format("{}: the directory cannot be listed: {}", directory, error.message()));
    std::ranges::sort(names);
    return names;
}

}  // namespace

std::string unreadable_hint(std::size_t count, std::size_t all) {
    return fmt::format(
        "{} of {} files cannot be read, so the command did nothing; correct {}, remove {}, or use "
        "--skip-unreadable to skip {}",
        count, all, count == 1 ? "it" : "them", count == 1 ? "it" : "them", count == 1 ? "it" : "them");
}

result<std::vector<InputFile>> read_inputs(const std::vector<std::string>& names, bool recursive) {
    std::vector<InputFile> files;
    bool stdin_read = false;
    for (const std::string& name : names) {
        if (name == "-") {
            if (stdin_read)
                return fail(Errc::invalid, "-f - is set twice, but standard input can be read only once");
            stdin_read = true;
            KEYSHEPHERD_TRY(std::string text, read_all(stdin, "stdin"));
            files.push_back({"stdin", std::move(text)});
            continue;
        }
        std::error_code ignored;
        if (!fs::is_directory(name, ignored)) {
            KEYSHEPHERD_TRY(std::string text, read_file(name));
            files.push_back({name, std::move(text)});
            continue;
        }
        KEYSHEPHERD_TRY(const std::vector<std::string> found,
                        recursive ? manifests_below<fs::recursive_directory_iterator>(name)
                                  : manifests_below<fs::directory_iterator>(name));
        if (found.empty())
            return fail(Errc::not_found,
                        fmt::format("{}: no *.yaml, *.yml or *.json files in this directory{}", name,
                                    recursive ? "" : "; use --recursive to read subdirectories"));
        for (const std::string& path : found) {
            auto text = read_file(path);
            if (text)
                files.push_back({path, std::move(text).value()});
            else
                files.push_back({path, "", text.error().message.substr(path.size() + 2)});
        }
    }
    return files;
}

}  // namespace keyshepherd::app
