#include <keyshepherd/core/ascii.hpp>
#include <keyshepherd/resources/crd.hpp>
#include <keyshepherd/resources/resource.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

namespace keyshepherd::resources {

namespace {

using Ordered = nlohmann::ordered_json;

// Block style; every text quoted as JSON does it, which YAML reads the same.
void print(const Ordered& value, int indent, std::string& out) {
    const std::string margin(static_cast<std::size_t>(indent), ' ');
    if (value.is_object() && !value.empty()) {
        for (const auto& [key, member] : value.items()) {
            const bool plain =
                key.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-0123456789") ==
                std::string::npos;
            out += margin + (plain ? key : Ordered(key).dump()) + ":";
            const bool nested = member.is_structured() && !member.empty();
            out += nested ? "\n" : " ";
            print(member, nested && member.is_object() ? indent + 2 : indent, out);
        }
    } else if (value.is_array() && !value.empty()) {
        for (const Ordered& element : value) {
            std::string text;
            print(element, indent + 2, text);
            const bool nested = element.is_structured() && !element.empty();
            out += margin + "- " + (nested ? text.substr(static_cast<std::size_t>(indent) + 2) : text);
        }
    } else {
        out += value.dump() + "\n";
    }
}

constexpr long longest_duration_text = 32;

long longest(const Field& field) {
    return field.max_length != 0 ? field.max_length : 512;
}

// `occurrences`: how often the lists around it let each field occur in one object.
Ordered schema_of(std::span<const Field> fields, double occurrences);

std::optional<Ordered> pattern_rule(const Field& field, long length, double occurrences);

Ordered text_schema(const Field& field, double occurrences) {
    Ordered schema = {{"type", "string"}};
    if (!field.values.empty()) {
        schema["enum"] = field.values;
    } else {
        schema["maxLength"] = longest(field);
        if (!field.pattern.empty()) schema["pattern"] = field.pattern;
        if (auto rule = pattern_rule(field, longest(field), occurrences))
            schema["x-kubernetes-validations"] = Ordered::array({*std::move(rule)});
    }
    return schema;
}

// The CEL rule of a duration's minimum.
std::string at_least(const Field& field) {
    // Any digit but 0 makes a second: what is less is rounded up.
    if (field.min == 1) return "self.matches('[1-9]')";
    const std::string zero = field.zero_too ? "!self.matches('[1-9]') || " : "";
    // CEL's durations are Go's, which know no days.
    return fmt::format(
        "{0}(self.matches('^[0-9]+$') ? int(self) >= {1} : "
        "self.matches('[1-9][0-9]*d') || duration(self.replace('d', 'h')) >= duration('{1}s'))",
        zero, field.min);
}

// A refusal by `pattern` shows the regular expression alone. A CEL rule of the same expression adds what it
// means. The API server refuses a definition with a rule that may cost more than 10,000,000 units, and
// charges `matches` by the lengths of the text and of the expression and by how often the field may occur
// (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#resource-use-by-validation-functions),
// so the elements of lists within lists have no such rule.
constexpr double most_rule_cost = 1'000'000;

std::optional<Ordered> pattern_rule(const Field& field, long length, double occurrences) {
    if (field.pattern.empty() || field.expected.empty()) return std::nullopt;
    const double cost =
        occurrences * static_cast<double>(length) * 0.1 * static_cast<double>(field.pattern.size()) * 0.25;
    if (cost > most_rule_cost) return std::nullopt;
    // A raw string of CEL: the backslashes are the expression's.
    return Ordered{{"rule", fmt::format("self.matches(r\"\"\"{}\"\"\")", field.pattern)},
                   {"message", fmt::format("must be {}", field.expected)}};
}

Ordered field_schema(const Field& field, double occurrences) {
    Ordered schema;
    const double elements = occurrences * static_cast<double>(std::min<long>(field.max, 1024));
    switch (field.type) {
        case Type::text:
        case Type::enumeration:
            schema = text_schema(field, occurrences);
            break;
        case Type::boolean:
            schema = {{"type", "boolean"}};
            break;
        case Type::integer:
            schema = {{"type", "integer"}, {"format", "int64"}, {"minimum", field.min}};
            schema["maximum"] = std::min<long>(field.max, 2'000'000'000);
            break;
        case Type::duration:
            // A text only, as durations of Kubernetes are: for a field that is also a number, `kubectl
            // explain` knows no type.
            schema = {{"type", "string"}, {"pattern", field.pattern}, {"maxLength", longest_duration_text}};
            if (auto rule = pattern_rule(field, longest_duration_text, occurrences))
                schema["x-kubernetes-validations"] = Ordered::array({*std::move(rule)});
            break;
        case Type::text_list:
        case Type::text_set:
        case Type::name_set:
        case Type::cidr_set:
        case Type::object_list:
            schema = {{"type", "array"}};
            if (field.min > 0) schema["minItems"] = field.min;
            schema["maxItems"] = std::min<long>(field.max, 1024);
            if (field.type == Type::object_list) {
                schema["x-kubernetes-list-type"] = "atomic";
                schema["items"] = schema_of(field.members, elements);
            } else {
                schema["x-kubernetes-list-type"] = field.type == Type::text_list ? "atomic" : "set";
                schema["items"] = text_schema(field, elements);
            }
            break;
        case Type::text_map:
            schema = {{"type", "object"},
                      {"maxProperties", std::min<long>(field.max, 1024)},
                      {"additionalProperties", text_schema(field, elements)}};
            break;
        case Type::object:
            schema = schema_of(field.members, occurrences);
            break;
    }
    schema["description"] = field.doc;
    if (!field.fallback.empty()) schema["default"] = Ordered::parse(field.fallback);
    Ordered rules = schema.value("x-kubernetes-validations", Ordered::array());
    if (field.immutable)
        rules.push_back(
            {{"rule", "self == oldSelf"},
             {"message", fmt::format("{} is immutable; create a new resource instead", field.name)}});
    if (field.type == Type::duration && field.min > 0)
        rules.push_back({{"rule", at_least(field)},
                         {"message", fmt::format("{} must be at least {}s{}", field.name, field.min,
                                                 field.zero_too ? ", or 0" : "")}});
    if (!rules.empty()) schema["x-kubernetes-validations"] = std::move(rules);
    return schema;
}

Ordered schema_of(std::span<const Field> fields, double occurrences) {
    Ordered schema = {{"type", "object"}};
    Ordered required = Ordered::array();
    for (const Field& field : fields)
        if (field.required) required.push_back(field.name);
    if (!required.empty()) schema["required"] = required;
    Ordered properties = Ordered::object();
    for (const Field& field : fields) properties[std::string(field.name)] = field_schema(field, occurrences);
    schema["properties"] = properties;
    return schema;
}

Ordered spec_schema(const Kind& kind) {
    Ordered schema = schema_of(kind.spec, 1);
    schema["description"] = "Desired state of the resource.";
    Ordered rules = Ordered::array();
    for (const Rule& rule : kind.rules)
        rules.push_back({{"rule", rule.expression}, {"message", rule.message}});
    // A rule on the field itself says nothing about one that comes or goes.
    for (const Field& field : kind.spec)
        if (field.immutable && !field.required && field.fallback.empty())
            rules.push_back(
                {{"rule", fmt::format("has(self.{0}) == has(oldSelf.{0})", field.name)},
                 {"message",
                  fmt::format("{} cannot be added or removed; create a new resource instead", field.name)}});
    if (!rules.empty()) schema["x-kubernetes-validations"] = rules;
    return schema;
}

Ordered described(Ordered schema, std::string_view doc) {
    schema["description"] = doc;
    return schema;
}

Ordered status_schema(const Kind& kind) {
    const Ordered text = {{"type", "string"}};
    const Ordered time = {{"type", "string"}, {"format", "date-time"}};
    const Ordered number = {{"type", "integer"}, {"format", "int64"}};
    const Ordered truth = {{"type", "string"}, {"enum", {"True", "False", "Unknown"}}};
    const Ordered condition = {
        {"type", "object"},
        {"required", {"type", "status", "lastTransitionTime", "reason", "message"}},
        {"properties",
         {{"type", described(text, "Type of the condition, such as Ready.")},
          {"status", described(truth, "Whether the condition holds.")},
          {"observedGeneration",
           described(number, "metadata.generation for which the operator set the condition.")},
          {"lastTransitionTime", described(time, "Last time that status changed.")},
          {"reason", described(text, "Reason for the current status in CamelCase, such as Reconciled.")},
          {"message",
           described(text, "Explanation for human readers, with a remedy if something is wrong.")}}}};
    const Ordered conditions = {{"type", "array"},
                                {"x-kubernetes-list-type", "map"},
                                {"x-kubernetes-list-map-keys", {"type"}},
                                {"items", condition}};
    Ordered properties = {
        {"observedGeneration", described(number, "metadata.generation that the operator processed last.")},
        {"conditions",
         described(conditions, "Observations of the operator. The condition Ready summarizes them.")},
        {"lastChange", described(time, "Last time that the operator changed something for this resource.")}};
    for (const std::string_view fact : kind.facts)
        properties[std::string(fact)] = described(text, status_doc(fact));
    for (const std::string_view count : kind.counts)
        properties[std::string(count)] = described(number, status_doc(count));
    return {{"type", "object"},
            {"description", "Observed state of the resource. Only the operator writes it."},
            {"properties", properties}};
}

Ordered definition(const Kind& kind) {
    const std::string singular = to_lower(kind.name);
    Ordered columns = Ordered::array();
    for (const PrinterColumn& column : kind.columns) {
        Ordered made = {{"name", column.name}, {"type", column.type}, {"jsonPath", column.path}};
        if (column.priority != 0) made["priority"] = column.priority;
        columns.push_back(made);
    }
    Ordered schema = {{"type", "object"},
                      {"description", kind.doc},
                      {"required", {"spec"}},
                      {"properties",
                       {{"apiVersion", {{"type", "string"}}},
                        {"kind", {{"type", "string"}}},
                        {"metadata", {{"type", "object"}}},
                        {"spec", spec_schema(kind)},
                        {"status", status_schema(kind)}}}};
    if (kind.named_in_annotation)
        schema["x-kubernetes-validations"] =
            Ordered::array({{{"rule",
                              "self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$') && "
                              "!(self.metadata.name in ['true', 't', '1', 'false', 'f', '0'])"},
                             {"message",
                              "metadata.name must be an RFC 1123 label such as holysheep, and not true, t, "
                              "1, false, f or 0: workloads refer to it in an annotation"}}});
    return {{"apiVersion", "apiextensions.k8s.io/v1"},
            {"kind", "CustomResourceDefinition"},
            {"metadata",
             {{"name", fmt::format("{}.{}", kind.plural, group)},
              {"labels", {{"app.kubernetes.io/part-of", "keyshepherd"}}}}},
            {"spec",
             {{"group", group},
              {"names",
               {{"kind", kind.name},
                {"listKind", fmt::format("{}List", kind.name)},
                {"plural", kind.plural},
                {"singular", singular},
                {"shortNames", {kind.short_name}},
                {"categories", {"keyshepherd"}}}},
              {"scope", kind.namespaced ? "Namespaced" : "Cluster"},
              {"versions", Ordered::array({{{"name", version},
                                            {"served", true},
                                            {"storage", true},
                                            {"subresources", {{"status", Ordered::object()}}},
                                            {"additionalPrinterColumns", columns},
                                            {"schema", {{"openAPIV3Schema", schema}}}}})}}}};
}

std::string_view type_name(Type type) {
    switch (type) {
        case Type::text:
            return "string";
        case Type::boolean:
            return "boolean";
        case Type::integer:
            return "integer";
        case Type::duration:
            return "duration";
        case Type::enumeration:
            return "one of";
        case Type::text_list:
            return "list";
        case Type::text_set:
        case Type::name_set:
            return "set";
        case Type::cidr_set:
            return "set of CIDR blocks";
        case Type::text_map:
            return "map";
        case Type::object:
            return "object";
        case Type::object_list:
            return "list of objects";
    }
    return "";
}

void rows(std::span<const Field> fields, const std::string& prefix, std::string& page) {
    for (const Field& field : fields) {
        std::string type(type_name(field.type));
        if (!field.values.empty()) {
            std::vector<std::string> values;
            for (const std::string_view value : field.values) values.push_back(fmt::format("`{}`", value));
            type = fmt::format("{} {}", field.type == Type::text_set ? "set of" : "one of",
                               fmt::join(values, ", "));
        }
        page += fmt::format("| `{}{}` | {}{} | {} | {} |\n", prefix, field.name, type,
                            field.immutable ? ", immutable" : "",
                            field.required           ? "required"
                            : field.fallback.empty() ? "–"
                                                     : fmt::format("`{}`", field.fallback),
                            field.doc);
        rows(field.members,
             fmt::format("{}{}{}.", prefix, field.name, field.type == Type::object_list ? "[]" : ""), page);
    }
}

void managed_rows(std::span<const Field> fields, const std::string& prefix, std::string& page) {
    for (const Field& field : fields) {
        if (!field.vault.empty())
            page += fmt::format("| `{}` | managed | `{}{}` |\n", field.vault, prefix, field.name);
        managed_rows(field.members, fmt::format("{}{}.", prefix, field.name), page);
    }
}

std::string_view handling_name(Handling handling) {
    switch (handling) {
        case Handling::managed:
            return "managed";
        case Handling::unset:
            return "kept unset";
        case Handling::ignored:
            return "ignored";
    }
    return "";
}

// Which parameters of Vault's API the operator compares, and why not the others.
void parameter_rows(const Kind& kind, std::string& page) {
    if (kind.parameters.empty()) return;
    page += "\n| Vault API parameter | handling | field or reason |\n|---|---|---|\n";
    managed_rows(kind.spec, "", page);
    for (const Parameter& parameter : kind.parameters)
        page += fmt::format("| `{}` | {} | {} |\n", parameter.name, handling_name(parameter.handling),
                            parameter.text);
}

}  // namespace

std::string definitions() {
    std::string out = "# Generated by hack/generate.sh from the tables in src/resources/kind.cpp.\n";
    for (const Kind& kind : kinds()) {
        out += "---\n";
        print(definition(kind), 0, out);
    }
    return out;
}

std::string reference() {
    std::string page = fmt::format(
        "# Custom resources\n\nGroup `{}`, version `{}`. Generated by hack/generate.sh.\n\nThe second table "
        "of each kind lists the parameters of the request that writes the object to Vault. The operator "
        "sends and compares *managed* parameters. It resets *kept unset* parameters to their default values. "
        "It neither sends nor compares *ignored* parameters.\n",
        group, version);
    for (const Kind& kind : kinds()) {
        page += fmt::format(
            "\n## {}\n\n{} {} `{}`.\n\n| field | type | default | meaning |\n|---|---|---|---|\n", kind.name,
            kind.doc, kind.namespaced ? "Short name" : "Cluster-scoped; short name", kind.short_name);
        rows(kind.spec, "", page);
        parameter_rows(kind, page);
    }
    page += "\n## Annotations of custom resources\n\n| annotation | on | meaning |\n|---|---|---|\n";
    for (const Annotation& annotation : annotations())
        page += fmt::format("| `{}` | {} | {} |\n", annotation.name, annotation.on, annotation.doc);
    return page;
}

}  // namespace keyshepherd::resources
