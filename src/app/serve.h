#pragma once

#include <string>

namespace phalanx {

struct ServeOptions {
  std::string config_file;      // --config-file; empty: as config_loader.h says
  std::string executable_path;  // argv[0]
};

// The daemon's whole life: reads the configuration, starts the ranks and the HTTP planes, prints "Daemon start success!",
// serves until SIGINT or SIGTERM, drains and ends what it started. Returns the exit code: 0 ended as asked, 1
// configuration or checkpoint, 2 failure while running. Prints one line per problem.
int RunServe(const ServeOptions& options);

}  // namespace phalanx
