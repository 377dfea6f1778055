#include <keyshepherd/app/command_line.hpp>

int main(int argc, char** argv) {
    return keyshepherd::app::run(argc, argv);
}
