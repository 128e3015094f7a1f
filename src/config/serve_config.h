#pragma once

#include <map>
#include <string>
#include <vector>

namespace phalanx {

// What config.json says, as plain data. One struct per section; a member's name is its key in snake_case.
//
// The members come from the field lists (*_fields.inc). A list entry is the only place where a field is
// declared:
//
//   PHX_FIELD(type, member, "key", default, allowed values, state, "meaning")
//
// Parsing, validation, "did you mean" and docs/config-reference.md follow from it (field_table.cc). A dot in
// a key steps into a nested object. Read the lists for ranges and meanings.
//
// Values are as they take effect: LoadServeConfig has filled in defaults that depend on other fields
// (managementPort from port, tp from worldSize / dp) and made the documented silent adjustments.

using IntList = std::vector<int>;
using IntLists = std::vector<std::vector<int>>;
using DoubleLists = std::vector<std::vector<double>>;
using StringList = std::vector<std::string>;

#define PHX_FIELD(type, member, key, default_value, ...) type member = default_value;

// "ServerConfig": addresses, limits and certificates of the HTTP planes.
struct ServerConfig {
#include "config/server_fields.inc"
#include "config/server_tls_fields.inc"
};

// An item of "LoraModules".
struct LoraModule {
#include "config/lora_fields.inc"
};

// "plugin_params": JSON text or an object.
struct PluginParams {
#include "config/plugin_fields.inc"
};

// One member of "models", keyed by the model's type.
struct ModelOptions {
#include "config/model_options_fields.inc"
};

// The element of "ModelConfig": one model and its parallel sizes.
struct ModelInstanceConfig {
#include "config/model_fields.inc"
  PluginParams plugin_params;
  std::map<std::string, ModelOptions> models;
  // Keys outside the fixed list, with their value as JSON text ("0.5", "\"abc\"").
  std::map<std::string, std::string> free_keys;
};

// "ModelDeployConfig": limits of a request.
struct ModelDeployConfig {
#include "config/deploy_fields.inc"
  std::vector<LoraModule> lora_modules;
};

// "ScheduleConfig": batches, blocks and policies.
struct ScheduleConfig {
#include "config/schedule_fields.inc"
};

// "BackendConfig": devices and links between machines.
struct BackendConfig {
#include "config/backend_fields.inc"
};

// "LogConfig": the level that may change while the server runs.
struct LogConfig {
#include "config/log_fields.inc"
};

// Settings that come from environment variables; the keys are the variables' names.
struct EnvironmentConfig {
#include "config/environment_fields.inc"
};

// The whole file. The nesting of the file (ModelDeployConfig inside BackendConfig, ...) is flattened here.
struct ServeConfig {
  ServerConfig server;
  BackendConfig backend;
  ModelDeployConfig deploy;
  ModelInstanceConfig model;
  ScheduleConfig schedule;
  LogConfig log;
  EnvironmentConfig environment;
#include "config/top_fields.inc"
};

#undef PHX_FIELD

}  // namespace phalanx
