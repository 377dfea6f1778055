// The CustomResourceDefinitions and the reference page, made from the tables of kinds.
#pragma once

#include <string>

namespace keyshepherd::resources {

// Every definition as a document of one YAML stream, the same bytes in every process.
std::string definitions();
// A Markdown page: every kind with its fields.
std::string reference();
// RBAC of the operator, as a YAML stream.
std::string operator_roles();
// RBAC of the webhook, the same way.
std::string webhook_roles();

}  // namespace keyshepherd::resources
