// Times as Kubernetes and Vault write them: RFC 3339.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace keyshepherd {

// Seconds since 1970, a fraction left out, of any zone: Vault writes its own. 0 for what is no such time, for
// what lies before 1970, and so for Vault's "never" (0001-01-01T00:00:00Z).
std::int64_t seconds_since_epoch(std::string_view text);
// The same for the Date header of an HTTP answer, "Sat, 31 Jan 2026 12:00:00 GMT" (RFC 9110, section 5.6.7:
// what servers send). 0 for what is no such date.
std::int64_t seconds_of_http_date(std::string_view text);
// In UTC, as the Kubernetes API's Time wants it.
std::string rfc3339(std::int64_t seconds_since_epoch);

}  // namespace keyshepherd
