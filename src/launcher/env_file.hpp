// The env file that the agent renders, read as kubelet reads it for valueFrom.fileKeyRef (ParseEnv in
// k8s.io/kubernetes/pkg/kubelet/util/env): one template serves both wirings, and what works with one works
// with the other. tests/launcher compares the two on the same files.
//
//     NAME='value'   # nothing but single quotes; a value may span lines; no escapes, so no quote inside
//
// Kubelet looks for one name: the first entry wins, and a bad line hurts only what stands behind it. Hence
// entries come out one by one, and a fault is met only when it is reached.
//
//     EnvFile file(text);
//     while (file.next()) use(file.name(), file.value());
//     if (file.fault()) ...                                  // where and why it stopped before the end
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace keyshepherd::launcher {

struct EnvFault {
    std::size_t line = 0;     // from 1; of an unclosed quote, the line that opened it
    const char* reason = "";  // a constant: a text made from the line could carry a piece of a secret
};

class EnvFile {
public:
    explicit EnvFile(std::string_view text) : rest_(text) {}

    bool next();  // false at the end and at a fault, and then for good
    std::string_view name() const { return name_; }
    const std::string& value() const { return value_; }
    const std::optional<EnvFault>& fault() const { return fault_; }

private:
    bool read_line();
    bool stop(std::size_t line, const char* reason);

    std::string_view rest_;
    std::string_view line_;
    std::size_t number_ = 0;
    bool too_long_ = false;
    std::string_view name_;
    std::string value_;
    std::optional<EnvFault> fault_;
};

}  // namespace keyshepherd::launcher
