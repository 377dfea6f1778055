// Bytes that may be secret, and leave no copy behind.
#pragma once

#include <openssl/crypto.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace keyshepherd::net {

// All of its memory, not only what is in use.
inline void wipe(std::string& text) {
    text.resize(text.capacity());
    OPENSSL_cleanse(text.data(), text.size());
    text.clear();
}

// Every text in a tree of nlohmann's.
template <class Tree>
    requires requires(Tree& tree) { tree.is_structured(); }
void wipe(Tree& tree) {
    if (tree.is_structured())
        for (auto& each : tree) wipe(each);
    else if (tree.is_string())
        wipe(tree.template get_ref<std::string&>());
}

// For a process that holds secrets: it leaves no core file, and no other process of its user reads its
// memory.
inline void forbid_core_files() {
    prctl(PR_SET_DUMPABLE, 0);
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
}

// What append() does, without leaving the old bytes behind when it needs new memory. `expected`: the size
// that is likely in the end.
inline void append_wiping(std::string& text, std::string_view more, std::size_t expected = 0) {
    if (text.size() + more.size() > text.capacity()) {
        std::string larger;
        larger.reserve(std::max({text.size() + more.size(), 2 * text.capacity(), expected}));
        larger.append(text);
        wipe(text);
        text.swap(larger);
    }
    text.append(more);
}

template <class T>
struct WipingAllocator {
    using value_type = T;

    WipingAllocator() = default;
    template <class U>
    WipingAllocator(const WipingAllocator<U>&) {}

    T* allocate(std::size_t n) { return std::allocator<T>().allocate(n); }
    void deallocate(T* at, std::size_t n) {
        OPENSSL_cleanse(at, n * sizeof(T));
        std::allocator<T>().deallocate(at, n);
    }
    bool operator==(const WipingAllocator&) const = default;
};

}  // namespace keyshepherd::net
