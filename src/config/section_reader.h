#pragma once

#include <set>
#include <string>

#include "config/config_report.h"
#include "config/field_table.h"
#include "config/serve_config.h"

namespace phalanx {

// Full names ("ServerConfig.port") of the fields that the file holds.
using PresentFields = std::set<std::string>;

// Reads every section of `root` into a ServeConfig whose other fields keep their declared defaults. Wrong
// types and values and missing required fields become problems, unknown keys warnings.
ServeConfig ReadSections(const Json& root, ConfigReport* report, PresentFields* present);

// Fields of `config` that are declared to be `kind` and differ from their default: "ModelConfig.cpuMemSize",
// and free keys ("ModelConfig.temperature") for kNotYet. In the order of declaration.
StringList FieldsSetTo(const ServeConfig& config, FieldState::Kind kind);

}  // namespace phalanx
