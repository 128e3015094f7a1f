#pragma once

#include "config/environment.h"
#include "config/section_reader.h"

namespace phalanx {

// Lets environment variables replace fields of the file and fills config->environment. Fields that were
// replaced count as present. A value that is not allowed is a problem, except for the log settings, which
// keep their default with a warning.
void ApplyEnvironment(const Environment& environment, ServeConfig* config, ConfigReport* report,
                      PresentFields* present);

// What `text` says for `component` in "component:value;..." syntax: the last part that names the component,
// "*" or no component at all. Empty if there is none.
std::string ComponentValue(const std::string& text, const std::string& component);

}  // namespace phalanx
