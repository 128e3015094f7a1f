#include "config/field_table.h"

#include <algorithm>

namespace phalanx {
namespace {

template <class T>
constexpr const char* kTypeName = nullptr;
template <>
constexpr const char* kTypeName<bool> = "true or false";
template <>
constexpr const char* kTypeName<int> = "integer";
template <>
constexpr const char* kTypeName<double> = "number";
template <>
constexpr const char* kTypeName<std::string> = "text";
template <>
constexpr const char* kTypeName<StringList> = "list of text";
template <>
constexpr const char* kTypeName<IntList> = "list of integers";
template <>
constexpr const char* kTypeName<IntLists> = "list of lists of integers";
template <>
constexpr const char* kTypeName<DoubleLists> = "list of lists of numbers";

template <class Section, class T>
FieldDeclaration MakeField(T Section::*member, const char* section, const char* key, AllowedValues allowed,
                           FieldState state, const char* meaning) {
  const Section defaults;
  return {.section = section,
          .key = key,
          .type = kTypeName<T>,
          .default_value = Json(defaults.*member),
          .allowed = std::move(allowed),
          .state = std::move(state),
          .meaning = meaning,
          .member = [member](void* section_struct) -> FieldRef {
            return &(static_cast<Section*>(section_struct)->*member);
          }};
}

}  // namespace

#define PHX_FIELD(type, member, key, default_value, allowed, state, meaning) \
  MakeField(&Section::member, kName, key, allowed, state, meaning),

const SectionDeclaration& TopSection() {
  using Section = ServeConfig;
  static constexpr char kName[] = "";
  static const SectionDeclaration section = {kName,
                                             "",
                                             "The whole file.",
                                             {"ServerConfig", "BackendConfig", "LogConfig"},
                                             {
#include "config/top_fields.inc"
                                             }};
  return section;
}

const SectionDeclaration& ServerSection() {
  using Section = ServerConfig;
  static constexpr char kName[] = "ServerConfig";
  static const SectionDeclaration section = {kName,
                                             kName,
                                             "Addresses, limits and certificates of the HTTP planes.",
                                             {},
                                             {
#include "config/server_fields.inc"
#include "config/server_tls_fields.inc"
                                             }};
  return section;
}

const SectionDeclaration& BackendSection() {
  using Section = BackendConfig;
  static constexpr char kName[] = "BackendConfig";
  static const SectionDeclaration section = {kName,
                                             kName,
                                             "Devices and links between machines.",
                                             {"ModelDeployConfig", "ScheduleConfig"},
                                             {
#include "config/backend_fields.inc"
                                             }};
  return section;
}

const SectionDeclaration& DeploySection() {
  using Section = ModelDeployConfig;
  static constexpr char kName[] = "ModelDeployConfig";
  static const SectionDeclaration section = {kName,
                                             "BackendConfig.ModelDeployConfig",
                                             "Limits of a request.",
                                             {"ModelConfig", "LoraModules"},
                                             {
#include "config/deploy_fields.inc"
                                             }};
  return section;
}

const SectionDeclaration& ModelSection() {
  using Section = ModelInstanceConfig;
  static constexpr char kName[] = "ModelConfig";
  static const SectionDeclaration section = {
      kName,
      "BackendConfig.ModelDeployConfig.ModelConfig[0]",
      "The model and its parallel sizes. `ModelConfig` is a list of one element.",
      {"plugin_params", "models"},
      {
#include "config/model_fields.inc"
      }};
  return section;
}

const SectionDeclaration& ModelOptionsSection() {
  using Section = ModelOptions;
  static constexpr char kName[] = "models.*";
  static const SectionDeclaration section = {
      kName,
      "BackendConfig.ModelDeployConfig.ModelConfig[0].models.<model type>",
      "Options by model type (`deepseekv2`, `qwen3_moe`, ...). Unknown types and keys are ignored.",
      {},
      {
#include "config/model_options_fields.inc"
      }};
  return section;
}

const SectionDeclaration& PluginSection() {
  using Section = PluginParams;
  static constexpr char kName[] = "plugin_params";
  static const SectionDeclaration section = {kName,
                                             "BackendConfig.ModelDeployConfig.ModelConfig[0].plugin_params",
                                             "An object, or the same as JSON text.",
                                             {},
                                             {
#include "config/plugin_fields.inc"
                                             }};
  return section;
}

const SectionDeclaration& LoraSection() {
  using Section = LoraModule;
  static constexpr char kName[] = "LoraModules";
  static const SectionDeclaration section = {kName,
                                             "BackendConfig.ModelDeployConfig.LoraModules[i]",
                                             "Static adapters, a list.",
                                             {},
                                             {
#include "config/lora_fields.inc"
                                             }};
  return section;
}

const SectionDeclaration& ScheduleSection() {
  using Section = ScheduleConfig;
  static constexpr char kName[] = "ScheduleConfig";
  static const SectionDeclaration section = {kName,
                                             "BackendConfig.ScheduleConfig",
                                             "Batches, blocks and policies.",
                                             {},
                                             {
#include "config/schedule_fields.inc"
                                             }};
  return section;
}

const SectionDeclaration& LogSection() {
  using Section = LogConfig;
  static constexpr char kName[] = "LogConfig";
  static const SectionDeclaration section = {kName,
                                             kName,
                                             "The log level while the server runs.",
                                             {},
                                             {
#include "config/log_fields.inc"
                                             }};
  return section;
}

const SectionDeclaration& EnvironmentSection() {
  using Section = EnvironmentConfig;
  static constexpr char kName[] = "environment";
  static const SectionDeclaration section = {kName,
                                             "",
                                             "Environment variables that are settings.",
                                             {},
                                             {
#include "config/environment_fields.inc"
                                             }};
  return section;
}

#undef PHX_FIELD

const FieldDeclaration* SectionDeclaration::Find(std::string_view key) const {
  for (const FieldDeclaration& field : fields) {
    if (field.key == key) return &field;
  }
  return nullptr;
}

std::vector<const SectionDeclaration*> AllSections() {
  return {&TopSection(),      &ServerSection(), &BackendSection(),      &DeploySection(),
          &ModelSection(),    &PluginSection(), &ModelOptionsSection(), &LoraSection(),
          &ScheduleSection(), &LogSection(),    &EnvironmentSection()};
}

bool IsKnownFreeKey(std::string_view key) {
  static constexpr std::string_view kKeys[] = {
      "max_position_embeddings",
      "bos_token_id",
      "eos_token_id",
      "pad_token_id",
      "tokenizer_path",
      "ignore_eos",
      "temperature",
      "top_k",
      "top_p",
      "repetition_penalty",
      "frequency_penalty",
      "presence_penalty",
      "do_sample",
  };
  return std::find(std::begin(kKeys), std::end(kKeys), key) != std::end(kKeys);
}

}  // namespace phalanx
