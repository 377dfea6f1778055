// RFC 4648 section 4, with padding: how an AdmissionReview carries its patch.
#pragma once

#include <string>
#include <string_view>

namespace keyshepherd::admission {

void append_base64(std::string& out, std::string_view bytes);

}  // namespace keyshepherd::admission
