// A ServeConfig back to the text of a config.json.

#include "config/config_loader.h"
#include "config/field_table.h"

namespace phalanx {
namespace {

OrderedJson WriteSection(const SectionDeclaration& section, void* section_struct) {
  OrderedJson object = OrderedJson::object();
  for (const FieldDeclaration& field : section.fields) {
    OrderedJson* place = &object;
    std::string key = field.key;
    for (size_t dot = key.find('.'); dot != std::string::npos; dot = key.find('.')) {
      place = &(*place)[key.substr(0, dot)];
      key.erase(0, dot + 1);
    }
    (*place)[key] = WriteField(field.member(section_struct));
  }
  return object;
}

OrderedJson WriteModel(ModelInstanceConfig* model) {
  OrderedJson object = WriteSection(ModelSection(), model);
  if (!model->plugin_params.plugin_type.empty()) {
    object["plugin_params"] = WriteSection(PluginSection(), &model->plugin_params);
  }
  for (auto& [type, options] : model->models)
    object["models"][type] = WriteSection(ModelOptionsSection(), &options);
  for (const auto& [key, text] : model->free_keys) object[key] = OrderedJson::parse(text, nullptr, false);
  return object;
}

}  // namespace

std::string ServeConfigToJson(const ServeConfig& config) {
  ServeConfig copy = config;
  OrderedJson deploy = WriteSection(DeploySection(), &copy.deploy);
  deploy["ModelConfig"] = OrderedJson::array({WriteModel(&copy.model)});
  for (LoraModule& module : copy.deploy.lora_modules) {
    deploy["LoraModules"].push_back(WriteSection(LoraSection(), &module));
  }
  OrderedJson backend = WriteSection(BackendSection(), &copy.backend);
  backend["ModelDeployConfig"] = std::move(deploy);
  backend["ScheduleConfig"] = WriteSection(ScheduleSection(), &copy.schedule);
  OrderedJson root = WriteSection(TopSection(), &copy);
  root["ServerConfig"] = WriteSection(ServerSection(), &copy.server);
  root["BackendConfig"] = std::move(backend);
  root["LogConfig"] = WriteSection(LogSection(), &copy.log);
  return root.dump(2, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace phalanx
