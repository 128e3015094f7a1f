#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "config/environment.h"
#include "config/serve_config.h"

namespace phalanx {

// Where config.json is, and the folder that its relative paths start from.
struct ConfigLocation {
  std::string path;
  std::string home;
  std::string found_by;  // "--config-file", the variable's name, or "the program's folder"
};

// The first hit of: `config_file_argument` (--config-file; empty: not given), MIES_CONFIG_JSON_PATH,
// ${MINDIE_LLM_HOME_PATH}/conf/config.json (only beside an __init__.py),
// ${MIES_INSTALL_PATH}/conf/config.json, <folder of executable_path>/../conf/config.json. Whether the file
// exists is seen by LoadServeConfig.
ConfigLocation FindConfigFile(const std::string& config_file_argument, const std::string& executable_path,
                              const Environment& environment);

// A configuration that may be served, and what its owner should know about it.
struct LoadedConfig {
  ServeConfig config;
  std::string path;
  std::string home;
  // One line each: file modes, unknown keys with the nearest known name, plain HTTP beyond loopback, ...
  std::vector<std::string> warnings;
  // Documented silent adjustments that were made ("maxBatchSize 200 takes effect as 64: ...").
  std::vector<std::string> adjustments;
  // "Section.key" of fields that are set away from their default and have no effect yet, in the order of
  // declaration.
  std::vector<std::string> without_effect_yet;
  // "Section.key (reason)" of fields that are set away from their default and are ignored for good.
  std::vector<std::string> ignored;

  // "accepted, without effect yet: A.b, C.d"; empty if there are none.
  std::string WithoutEffectLine() const;
  // "accepted and ignored: A.b (reason), C.d (reason)"; empty if there are none.
  std::string IgnoredLine() const;
};

// A check that needs more than this folder knows (parallel sizes, the checkpoint's place). An error's message
// may have several lines; they join the report of all problems.
using ConfigCheck = std::function<Status(const ServeConfig&)>;

// Reads and checks the file at `location`. All problems are reported together, one line each with section,
// key, the value found and what is allowed; Status::param is the first one's "Section.key". Errors: NotFound
// (no such file), InvalidArgument, Unimplemented (every problem is a feature that comes later).
// `further_checks` run where the file could be read at all, on a config whose bad fields have their defaults.
Result<LoadedConfig> LoadServeConfig(const ConfigLocation& location, const Environment& environment,
                                     const std::vector<ConfigCheck>& further_checks = {});

// The same for text that is already in memory; `source` names it in messages.
Result<LoadedConfig> ParseServeConfig(std::string_view text, const std::string& source,
                                      const Environment& environment,
                                      const std::vector<ConfigCheck>& further_checks = {});

// `config` as the text of a complete config.json; parsing it again gives an equal ServeConfig, except for
// what came from environment variables.
std::string ServeConfigToJson(const ServeConfig& config);

// docs/config-reference.md: every declared field in Markdown.
std::string ConfigReferenceMarkdown();

}  // namespace phalanx
