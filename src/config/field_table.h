#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"
#include "config/config_report.h"
#include "config/field_spec.h"
#include "config/serve_config.h"

namespace phalanx {

// A member of a section's struct.
using FieldRef =
    std::variant<bool*, int*, double*, std::string*, StringList*, IntList*, IntLists*, DoubleLists*>;

// One declared field.
struct FieldDeclaration {
  std::string section;  // "ServerConfig"
  std::string key;      // "port", or "HealthCheckConfig.npuUsageThreshold" for a nested one
  std::string type;     // "integer", "list of text", ...
  Json default_value;
  AllowedValues allowed;
  FieldState state;
  std::string meaning;
  std::function<FieldRef(void* section_struct)> member;

  std::string FullName() const { return section.empty() ? key : section + "." + key; }
};

// A section: its place in the file and its fields, in the order of declaration.
struct SectionDeclaration {
  std::string name;   // "ModelConfig"
  std::string place;  // "BackendConfig.ModelDeployConfig.ModelConfig[0]"
  std::string meaning;
  StringList objects;  // keys that hold sections of their own
  std::vector<FieldDeclaration> fields;

  // The field with this key, or null.
  const FieldDeclaration* Find(std::string_view key) const;
};

const SectionDeclaration& TopSection();
const SectionDeclaration& ServerSection();
const SectionDeclaration& BackendSection();
const SectionDeclaration& DeploySection();
const SectionDeclaration& ModelSection();
const SectionDeclaration& ModelOptionsSection();
const SectionDeclaration& PluginSection();
const SectionDeclaration& LoraSection();
const SectionDeclaration& ScheduleSection();
const SectionDeclaration& LogSection();
const SectionDeclaration& EnvironmentSection();

// All of them, in the order of the reference.
std::vector<const SectionDeclaration*> AllSections();

// Keys of a ModelConfig element that the original's generator understands as overrides and that we know by
// name only.
bool IsKnownFreeKey(std::string_view key);

// Reads `value` into `ref` if its type and value are allowed; else reports and leaves `ref` as it is.
void ReadField(const FieldDeclaration& field, const Json& value, FieldRef ref, ConfigReport* report);
Json WriteField(FieldRef ref);

}  // namespace phalanx
