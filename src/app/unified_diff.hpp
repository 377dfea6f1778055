// A unified diff of one file, as diff -u writes it, from parts whose old and new texts are known.
//
//     UnifiedDiff diff;
//     diff.add(document, injected, "Deployment/shop/ai-application");
//     std::cout << diff.text("deploy.yaml");
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::app {

class UnifiedDiff {
public:
    // The file's next part. Only within a part lines are compared, so that a long file costs no more than its
    // parts.
    void add(std::string_view from, std::string_view to, std::string label = {});

    // "" when nothing differs. Every change of label begins anew with "--- a/<file> <tab> <label>"; lines are
    // numbered through the file, and three lines around a change are shown, beyond its part too: patch(1)
    // takes it.
    std::string text(std::string_view file);

private:
    struct Line {
        char mark;  // ' ', '-' or '+'
        std::string text;
        std::size_t part;
    };
    void compare();

    std::vector<Line> lines_;
    std::vector<std::string> labels_;
    std::string from_;  // not compared yet: a part may end within a line
    std::string to_;
};

}  // namespace keyshepherd::app
