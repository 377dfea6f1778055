#include "resource_files.hpp"

#include <keyshepherd/yaml/yaml.hpp>

#include <fmt/format.h>

#include <map>

namespace keyshepherd::app {

namespace {

// "?" where it is no text.
std::string kind_of(const resources::Json& object) {
    const auto kind = object.is_object() ? object.find("kind") : object.end();
    return kind != object.end() && kind->is_string() ? kind->get<std::string>() : "?";
}

class Reading {
public:
    Reading(const std::string& default_namespace, Providers providers, Unreadable unreadable)
        : default_namespace_(default_namespace), providers_(providers), unreadable_(unreadable) {}

    void file(const InputFile& file) {
        ++files_;
        const auto documents =
            file.fault.empty() ? yaml::read(file.text) : fail(Errc::unavailable, file.fault);
        if (!documents) return left_out(fmt::format("{} {}", file.name, documents.error().message));
        for (const yaml::Document& document : *documents) {
            if (document.json.is_null()) continue;
            // Only text passes between the two JSON libraries.
            const auto object = resources::Json::parse(boost::json::serialize(document.json), nullptr, false);
            if (kind_of(object) == "List" && object.contains("items") && object["items"].is_array()) {
                yaml::Lines lines(document);
                for (std::size_t i = 0; i < object["items"].size(); ++i)
                    add(object["items"][i],
                        fmt::format("{} line {}", file.name, lines.at(fmt::format("/items/{}", i))));
            } else {
                add(object, fmt::format("{} line {}", file.name, document.line));
            }
        }
    }
    ResourceFiles take() && {
        if (unreadable_ == Unreadable::refused && left_out_ > 0 && files_ > 1)
            found_.errors.push_back(unreadable_hint(left_out_, files_));
        return std::move(found_);
    }

private:
    void left_out(std::string message) {
        ++left_out_;
        if (unreadable_ == Unreadable::refused) return found_.errors.push_back(std::move(message));
        found_.warnings.push_back(message + "; the file was skipped");
    }

    void add(const resources::Json& object, const std::string& place) {
        if (!resources::is_ours(object)) {
            ++found_.others;
            return;
        }
        resources::Reading read = resources::read(object, default_namespace_);
        const bool is_provider = read.resource.kind != nullptr && !read.resource.kind->in_vault;
        if (is_provider && providers_ == Providers::left_out) {
            ++found_.others;
            return;
        }
        const bool has_namespace = read.resource.kind == nullptr || read.resource.kind->namespaced;
        const std::string name =
            fmt::format("{} {}{}{}", kind_of(object), read.resource.ns, has_namespace ? "/" : "",
                        read.resource.name.empty() ? "(no name)" : read.resource.name);
        for (const resources::Fault& fault : read.faults)
            found_.errors.push_back(fmt::format("{}: {}: {}: {}", place, name, fault.field, fault.message));
        if (!read.faults.empty()) return;
        if (const auto [first, fresh] = places_.try_emplace(name, place); !fresh)
            return found_.errors.push_back(
                fmt::format("{}: {}: already defined at {}", place, name, first->second));
        if (is_provider)
            found_.providers.push_back(std::move(read.resource));
        else
            found_.resources.push_back(
                {std::move(read.resource), place, object["spec"].contains("adoptionPolicy")});
    }

    const std::string& default_namespace_;
    Providers providers_;
    Unreadable unreadable_;
    std::size_t files_ = 0;
    std::size_t left_out_ = 0;
    ResourceFiles found_;
    std::map<std::string, std::string> places_;
};

}  // namespace

ResourceFiles read_resources(const std::vector<InputFile>& files, const std::string& default_namespace,
                             Providers providers, Unreadable unreadable) {
    Reading reading(default_namespace, providers, unreadable);
    for (const InputFile& file : files) reading.file(file);
    return std::move(reading).take();
}

}  // namespace keyshepherd::app
