// Walks the JSON of config.json section by section, driven by the declarations of field_table.h.

#include "config/section_reader.h"

#include <algorithm>

#include "config/json_text.h"
#include "config/nearest_name.h"

namespace phalanx {
namespace {

enum class UnknownKeys { kWarn, kKeep, kIgnore };

// The value at a dotted key, or null. A part on the way that is no object ends the search.
const Json* FindNested(const Json& object, const std::string& key) {
  size_t dot = key.find('.');
  auto found = object.find(key.substr(0, dot));
  if (found == object.end()) return nullptr;
  if (dot == std::string::npos) return &*found;
  return found->is_object() ? FindNested(*found, key.substr(dot + 1)) : nullptr;
}

// What keys may stand directly in the object at `prefix` ("" or "HealthCheckConfig.") of a section.
StringList KnownKeys(const SectionDeclaration& section, const std::string& prefix) {
  StringList keys;
  if (prefix.empty()) keys = section.objects;
  for (const FieldDeclaration& field : section.fields) {
    if (!field.key.starts_with(prefix)) continue;
    std::string rest = field.key.substr(prefix.size());
    keys.push_back(rest.substr(0, rest.find('.')));
  }
  return keys;
}

bool Contains(const StringList& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

// A section that has a field or object of exactly this name.
const SectionDeclaration* SectionWithKey(const std::string& key) {
  for (const SectionDeclaration* section : AllSections()) {
    if (section == &EnvironmentSection() || section == &ModelOptionsSection()) continue;
    if (Contains(KnownKeys(*section, ""), key)) return section;
  }
  return nullptr;
}

void WarnUnknown(const std::string& where, const std::string& key, const StringList& known,
                 ConfigReport* report) {
  constexpr size_t kMaxWarnings = 100;
  if (report->warnings.size() >= kMaxWarnings) return;
  std::string text = where.empty() ? key : where + "." + key;
  std::string nearest = NearestName(key, known);
  const SectionDeclaration* home = SectionWithKey(key);
  if (!nearest.empty()) {
    text += ": unknown key, ignored; did you mean \"" + nearest + "\"?";
  } else if (home != nullptr && !home->name.empty()) {
    text += ": unknown key here, ignored; it belongs into " + home->name;
  } else {
    text += ": unknown key, ignored";
  }
  report->Warn(std::move(text));
}

void WarnUnknownKeys(const SectionDeclaration& section, const Json& object, const std::string& prefix,
                     ConfigReport* report) {
  const StringList known = KnownKeys(section, prefix);
  std::string where = section.name;
  if (!prefix.empty()) where += "." + prefix.substr(0, prefix.size() - 1);
  for (const auto& [key, value] : object.items()) {
    const std::string nested = prefix + key + ".";
    if (!Contains(known, key)) {
      WarnUnknown(where, key, known, report);
    } else if (value.is_object() && !KnownKeys(section, nested).empty()) {
      WarnUnknownKeys(section, value, nested, report);
    }
  }
}

class SectionReader {
 public:
  SectionReader(ConfigReport* report, PresentFields* present) : report_(report), present_(present) {}

  // The value of `key` in `parent`; an empty object if it is absent or, with a problem, no object.
  Json Object(const Json& parent, const std::string& key, const std::string& where) {
    auto found = parent.find(key);
    if (found == parent.end()) return Json::object();
    if (found->is_object()) return *found;
    report_->Found(where, found->type_name(), "an object");
    return Json::object();
  }

  void Read(const SectionDeclaration& section, const Json& object, void* section_struct,
            UnknownKeys unknown) {
    CheckNestedObjects(section, object);
    for (const FieldDeclaration& field : section.fields) {
      const Json* value = FindNested(object, field.key);
      if (value != nullptr) {
        present_->insert(field.FullName());
        ReadField(field, *value, field.member(section_struct), report_);
      } else if (field.allowed.required) {
        report_->Found(field.FullName(), "nothing", field.type + ", " + field.allowed.ToString());
      }
    }
    if (unknown == UnknownKeys::kWarn) WarnUnknownKeys(section, object, "", report_);
  }

  void ReadModel(const Json& object, ModelInstanceConfig* model) {
    Read(ModelSection(), object, model, UnknownKeys::kKeep);
    ReadPluginParams(object, &model->plugin_params);
    ReadModels(Object(object, "models", "ModelConfig.models"), model);
    const StringList known = KnownKeys(ModelSection(), "");
    for (const auto& [key, value] : object.items()) {
      if (Contains(known, key)) continue;
      model->free_keys[key] = value.dump();
      std::string nearest = IsKnownFreeKey(key) ? "" : NearestName(key, known);
      if (!nearest.empty()) {
        report_->Warn("ModelConfig." + key + ": handed to the model as a free key; did you mean \"" +
                      nearest + "\"?");
      }
    }
  }

  void ReadModelConfig(const Json& deploy, ModelInstanceConfig* model) {
    auto list = deploy.find("ModelConfig");
    if (list == deploy.end()) {
      ReadModel(Json::object(), model);
    } else if (!list->is_array() || list->size() != 1 || !list->front().is_object()) {
      std::string found = list->is_array() ? "a list of " + std::to_string(list->size()) : list->type_name();
      report_->Found("ModelDeployConfig.ModelConfig", found, "a list of exactly one object");
    } else {
      ReadModel(list->front(), model);
    }
  }

  void ReadLoraModules(const Json& deploy, std::vector<LoraModule>* modules) {
    auto list = deploy.find("LoraModules");
    if (list == deploy.end()) return;
    if (!list->is_array()) {
      report_->Found("ModelDeployConfig.LoraModules", list->type_name(), "a list of objects");
      return;
    }
    for (const Json& item : *list) {
      if (!item.is_object()) {
        report_->Found("ModelDeployConfig.LoraModules", item.type_name(), "a list of objects");
        continue;
      }
      LoraModule module;
      Read(LoraSection(), item, &module, UnknownKeys::kWarn);
      auto same_name = [&](const LoraModule& other) { return other.name == module.name; };
      if (std::any_of(modules->begin(), modules->end(), same_name)) {
        report_->Warn("LoraModules.name: \"" + module.name + "\" appears twice; the first path counts");
      } else {
        modules->push_back(std::move(module));
      }
    }
  }

 private:
  // A nested object that is something else would hide its fields.
  void CheckNestedObjects(const SectionDeclaration& section, const Json& object) {
    std::set<std::string> seen;
    for (const FieldDeclaration& field : section.fields) {
      size_t dot = field.key.rfind('.');
      if (dot == std::string::npos || !seen.insert(field.key.substr(0, dot)).second) continue;
      const Json* nested = FindNested(object, field.key.substr(0, dot));
      if (nested != nullptr && !nested->is_object()) {
        report_->Found(section.name + "." + field.key.substr(0, dot), nested->type_name(), "an object");
      }
    }
  }

  void ReadPluginParams(const Json& object, PluginParams* params) {
    auto found = object.find("plugin_params");
    if (found == object.end() || *found == "") return;
    Json value = *found;
    if (value.is_string()) {
      Result<JsonText> parsed = ParseJsonText(found->get_ref<const std::string&>());
      if (!parsed.ok()) {
        report_->Problem("ModelConfig.plugin_params", "its text is no JSON: " + parsed.status().message());
        return;
      }
      value = parsed->value;
    }
    if (!value.is_object()) {
      report_->Found("ModelConfig.plugin_params", value.type_name(), "an object, or an object as JSON text");
      return;
    }
    Read(PluginSection(), value, params, UnknownKeys::kWarn);
  }

  void ReadModels(const Json& models, ModelInstanceConfig* model) {
    for (const auto& [type, options] : models.items()) {
      if (!options.is_object()) continue;
      Read(ModelOptionsSection(), options, &model->models[type], UnknownKeys::kIgnore);
    }
  }

  ConfigReport* report_;
  PresentFields* present_;
};

// Calls visit(declaration, struct) for every section of `config`.
template <class Visit>
void ForEachSection(ServeConfig* config, Visit visit) {
  visit(TopSection(), static_cast<void*>(config));
  visit(ServerSection(), static_cast<void*>(&config->server));
  visit(BackendSection(), static_cast<void*>(&config->backend));
  visit(DeploySection(), static_cast<void*>(&config->deploy));
  for (LoraModule& module : config->deploy.lora_modules) visit(LoraSection(), static_cast<void*>(&module));
  visit(ModelSection(), static_cast<void*>(&config->model));
  visit(PluginSection(), static_cast<void*>(&config->model.plugin_params));
  for (auto& [type, options] : config->model.models)
    visit(ModelOptionsSection(), static_cast<void*>(&options));
  visit(ScheduleSection(), static_cast<void*>(&config->schedule));
  visit(LogSection(), static_cast<void*>(&config->log));
  visit(EnvironmentSection(), static_cast<void*>(&config->environment));
}

}  // namespace

ServeConfig ReadSections(const Json& root, ConfigReport* report, PresentFields* present) {
  ServeConfig config;
  SectionReader reader(report, present);
  if (!root.is_object()) {
    report->Found("", root.type_name(), "an object with ServerConfig and BackendConfig");
    return config;
  }
  const Json server = reader.Object(root, "ServerConfig", "ServerConfig");
  const Json backend = reader.Object(root, "BackendConfig", "BackendConfig");
  const Json deploy = reader.Object(backend, "ModelDeployConfig", "ModelDeployConfig");
  const Json schedule = reader.Object(backend, "ScheduleConfig", "ScheduleConfig");
  const Json log = reader.Object(root, "LogConfig", "LogConfig");
  reader.Read(TopSection(), root, &config, UnknownKeys::kWarn);
  reader.Read(ServerSection(), server, &config.server, UnknownKeys::kWarn);
  reader.Read(BackendSection(), backend, &config.backend, UnknownKeys::kWarn);
  reader.Read(DeploySection(), deploy, &config.deploy, UnknownKeys::kWarn);
  reader.ReadLoraModules(deploy, &config.deploy.lora_modules);
  reader.ReadModelConfig(deploy, &config.model);
  reader.Read(ScheduleSection(), schedule, &config.schedule, UnknownKeys::kWarn);
  reader.Read(LogSection(), log, &config.log, UnknownKeys::kWarn);
  return config;
}

StringList FieldsSetTo(const ServeConfig& config, FieldState::Kind kind) {
  StringList names;
  ServeConfig copy = config;
  ForEachSection(&copy, [&](const SectionDeclaration& section, void* section_struct) {
    for (const FieldDeclaration& field : section.fields) {
      if (field.state.kind != kind || !field.state.under.empty()) continue;
      if (WriteField(field.member(section_struct)) == field.default_value) continue;
      if (!Contains(names, field.FullName())) names.push_back(field.FullName());
    }
  });
  if (kind == FieldState::kNotYet) {
    for (const auto& [key, value] : config.model.free_keys) names.push_back("ModelConfig." + key);
  }
  return names;
}

}  // namespace phalanx
