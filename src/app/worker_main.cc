#include <charconv>
#include <cstdio>
#include <exception>
#include <string_view>

#include "base/log.h"
#include "compute/worker/worker.h"

// phalanx-worker --control-fd N: one rank. Started by the daemon, which hands it the descriptor N of their
// socket.
int main(int argc, char** argv) {
  int control_fd = -1;
  if (argc == 3 && std::string_view(argv[1]) == "--control-fd") {
    const std::string_view number = argv[2];
    std::from_chars(number.data(), number.data() + number.size(), control_fd);
  }
  if (control_fd < 0) {
    std::fputs(
        "phalanx-worker computes one rank of a model. mindieservice_daemon starts it; there is nothing to "
        "start by hand.\n"
        "usage: phalanx-worker --control-fd N\n",
        stderr);
    const bool help =
        argc == 2 && (std::string_view(argv[1]) == "--help" || std::string_view(argv[1]) == "-h");
    return help ? 0 : 1;
  }
  try {
    return phalanx::RunWorker(control_fd);
  } catch (const std::exception& error) {
    phalanx::LogError("the worker ended: {}", error.what());
    return 2;
  }
}
