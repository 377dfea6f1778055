// Settings of an installation that can inject every wiring. The product has no default image.
#pragma once

#include <keyshepherd/inject/settings.hpp>

namespace keyshepherd::testing_support {

inline inject::Settings settings() {
    inject::Settings all;
    all.image = "registry.example/keyshepherd:0.1.0";
    return all;
}

}  // namespace keyshepherd::testing_support
