#include "config/environment.h"

#include <unistd.h>

namespace phalanx {
namespace {

constexpr size_t kMaxValueLength = 256;

}  // namespace

const EnvironmentVariable kLocatingVariables[7] = {
    {"MIES_CONFIG_JSON_PATH", "path of config.json, unless `--config-file` is given"},
    {"MINDIE_LLM_HOME_PATH", "folder whose `conf/config.json` is read, if it holds an `__init__.py`"},
    {"MIES_INSTALL_PATH", "folder whose `conf/config.json` is read"},
    {"MIES_CONTAINER_IP", "replaces `ServerConfig.ipAddress`"},
    {"MIES_CONTAINER_MANAGEMENT_IP", "replaces `ServerConfig.managementIpAddress`"},
    {"NPU_DEVICE_IDS", "replaces `BackendConfig.npuDeviceIds`: a JSON list, or a list of such lists"},
    {"MINDIE_LLM_LOG_LEVEL", "older name of `MINDIE_LOG_LEVEL`"},
};

Environment Environment::OfProcess() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    std::string_view text = *entry;
    size_t equals = text.find('=');
    if (equals != std::string_view::npos) variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return Environment(std::move(variables));
}

std::optional<std::string> Environment::Get(std::string_view name) const {
  auto found = variables_.find(std::string(name));
  if (found == variables_.end() || found->second.empty() || found->second.size() > kMaxValueLength) {
    return std::nullopt;
  }
  return found->second;
}

bool Environment::TooLong(std::string_view name) const {
  auto found = variables_.find(std::string(name));
  return found != variables_.end() && found->second.size() > kMaxValueLength;
}

}  // namespace phalanx
