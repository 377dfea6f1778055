// A unified diff of one file, as diff -u writes it, from parts whose old and new texts are known.
//
//     UnifiedDiff diff;
//     diff.add(document.separator);
//     diff.add(document.source, edits, "Deployment/shop/ai-application");
//     std::cout << diff.text("deploy.yaml");
#pragma once

#include <keyshepherd/yaml/yaml.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::app {

class UnifiedDiff {
public:
    // The file's next part, in which nothing changes.
    void add(std::string_view unchanged);

    // The same with `edits`. Only the lines that an edit touches are compared, so that the cost grows with
    // the edits and not with the file. `label` names the part; "": as the part before it.
    void add(std::string_view from, const std::vector<yaml::Edit>& edits, std::string label);

    // "" when nothing differs. Every change of label begins anew with "--- a/<file> <tab> <label>"; lines are
    // numbered through the file, and three lines around a change are shown, beyond its part too: patch(1)
    // takes it. The file's name has no leading '/' or '..', which patch(1) and git refuse.
    std::string text(std::string_view file);

private:
    struct Line {
        char mark;  // ' ', '-' or '+'
        std::string text;
        std::size_t part;
    };
    void keep(std::string_view unchanged);
    void compare();

    std::vector<Line> lines_;
    std::vector<std::string> labels_;
    std::string from_;  // not compared yet: a part may end within a line
    std::string to_;
};

}  // namespace keyshepherd::app
