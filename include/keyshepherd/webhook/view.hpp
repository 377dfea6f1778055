// What the webhook knows of its surroundings, and decides every review on.
#pragma once

#include <keyshepherd/inject/namespaces.hpp>
#include <keyshepherd/inject/provider.hpp>

#include <string>

namespace keyshepherd::webhook {

// On the server's thread; it changes between two requests, never within one.
struct View {
    inject::Catalog catalog;
    inject::Namespaces namespaces;
    std::string unread;  // what is not read yet, and why; "": all of it was, once
};

}  // namespace keyshepherd::webhook
