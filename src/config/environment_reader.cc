#include "config/environment_reader.h"

#include <algorithm>
#include <cctype>
#include <sstream>

#include "config/json_text.h"

namespace phalanx {
namespace {

constexpr char kLogLevelName[] = "MINDIE_LOG_LEVEL";

std::string Trimmed(const std::string& text) {
  size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// "0.5" as a number, "abc" as text: what ReadField wants for the field's type.
Json AsJson(const FieldDeclaration& field, const std::string& text) {
  if (field.default_value.is_number()) {
    Result<JsonText> parsed = ParseJsonText(text);
    if (parsed.ok() && parsed->value.is_number()) return parsed->value;
  }
  return text;
}

void ReadLogSetting(const FieldDeclaration& field, const std::string& text, EnvironmentConfig* settings,
                    ConfigReport* report) {
  static const StringList kLevels = {"debug", "info", "warn", "error", "critical"};
  const std::string value = Lower(ComponentValue(text, "server"));
  if (value.empty()) return;
  ConfigReport attempt;
  ReadField(field, value, field.member(settings), &attempt);
  bool bad_level =
      field.key == kLogLevelName && std::find(kLevels.begin(), kLevels.end(), value) == kLevels.end();
  if (bad_level) settings->log_level = field.default_value.get<std::string>();
  if (bad_level || !attempt.problems.empty()) {
    report->Warn("environment " + field.key + "=\"" + text + "\" is not understood and keeps its default, " +
                 field.default_value.dump());
  }
}

void ReadSettings(const Environment& environment, EnvironmentConfig* settings, ConfigReport* report) {
  for (const FieldDeclaration& field : EnvironmentSection().fields) {
    if (environment.TooLong(field.key))
      report->Warn("environment " + field.key + " is longer than 256 characters: ignored");
    std::optional<std::string> text = environment.Get(field.key);
    if (!text && field.key == kLogLevelName) text = environment.Get("MINDIE_LLM_LOG_LEVEL");
    if (!text) continue;
    if (field.key.starts_with("MINDIE_LOG_")) {
      ReadLogSetting(field, *text, settings, report);
    } else {
      ReadField(field, AsJson(field, *text), field.member(settings), report);
    }
  }
  if (environment.Get("MINDIE_LLM_LOG_LEVEL")) {
    report->Warn(
        "environment MINDIE_LLM_LOG_LEVEL is the old name of MINDIE_LOG_LEVEL; it counts where that is not "
        "set");
  }
}

// Replaces `field` of the file by `value`; a problem then names the variable as well.
void Replace(const SectionDeclaration& section, const char* key, const char* variable, const Json& value,
             void* section_struct, ConfigReport* report, PresentFields* present) {
  const FieldDeclaration& field = *section.Find(key);
  size_t problems = report->problems.size();
  // The variable counts, so what is wrong with the file's value does not matter.
  std::erase_if(report->problems,
                [&](const ConfigProblem& problem) { return problem.field == field.FullName(); });
  problems = report->problems.size();
  ReadField(field, value, field.member(section_struct), report);
  for (size_t i = problems; i < report->problems.size(); ++i) {
    report->problems[i].text = std::string("from environment ") + variable + ": " + report->problems[i].text;
  }
  present->insert(field.FullName());
}

void ReplaceDevices(const std::string& text, BackendConfig* backend, ConfigReport* report,
                    PresentFields* present) {
  Result<JsonText> parsed = ParseJsonText(text.front() == '[' ? text : "[" + text + "]");
  Json value = parsed.ok() ? parsed->value : Json(text);
  if (value.is_array() && !value.empty() && !value.front().is_array()) value = Json::array({value});
  Replace(BackendSection(), "npuDeviceIds", "NPU_DEVICE_IDS", value, backend, report, present);
}

}  // namespace

std::string ComponentValue(const std::string& text, const std::string& component) {
  std::string value;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ';');) {
    size_t colon = part.find(':');
    std::string name = colon == std::string::npos ? "*" : Trimmed(part.substr(0, colon));
    if (name == "*" || name == component)
      value = Trimmed(colon == std::string::npos ? part : part.substr(colon + 1));
  }
  return value;
}

void ApplyEnvironment(const Environment& environment, ServeConfig* config, ConfigReport* report,
                      PresentFields* present) {
  for (const EnvironmentVariable& variable : kLocatingVariables) {
    if (environment.TooLong(variable.name)) {
      report->Warn("environment " + std::string(variable.name) + " is longer than 256 characters: ignored");
    }
  }
  if (auto ip = environment.Get("MIES_CONTAINER_IP")) {
    Replace(ServerSection(), "ipAddress", "MIES_CONTAINER_IP", *ip, &config->server, report, present);
  }
  if (auto ip = environment.Get("MIES_CONTAINER_MANAGEMENT_IP")) {
    Replace(ServerSection(), "managementIpAddress", "MIES_CONTAINER_MANAGEMENT_IP", *ip, &config->server,
            report, present);
  }
  if (auto ids = environment.Get("NPU_DEVICE_IDS")) ReplaceDevices(*ids, &config->backend, report, present);
  ReadSettings(environment, &config->environment, report);
}

}  // namespace phalanx
