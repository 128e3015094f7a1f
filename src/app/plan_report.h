#pragma once

#include <string>

namespace phalanx {

// `phalanx plan`: prints ranks, cores, memory, groups and cache capacity of a configuration for this machine, without
// starting anything. `config_path` empty: the file that the daemon would take. Returns the exit code: 0, or 1 with the reasons
// on standard error.
int RunPlan(const std::string& config_path, const std::string& executable_path);

}  // namespace phalanx
