#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace phalanx {

// Largest config.json that is read, in bytes.
inline constexpr size_t kMaxConfigFileBytes = 10 * 1024 * 1024;

// What is unusual about the path's owner and mode: one line that names a symbolic link, a mode wider than
// `max_mode` or an owner other than this process. Empty if nothing is, or if the path can't be examined. Root
// owns everything.
std::string PermissionWarning(const std::string& path, unsigned max_mode);

// The text of the file at `path`. Unusual modes, owners and links are told in `warnings` if
// `check_permissions`. Errors: NotFound, InvalidArgument (not a regular file, empty, larger than
// kMaxConfigFileBytes, path too long), Internal (can't be read); every message names the path.
Result<std::string> ReadConfigFile(const std::string& path, bool check_permissions,
                                   std::vector<std::string>* warnings);

}  // namespace phalanx
