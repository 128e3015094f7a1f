#include "serve/api/generation_defaults.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>

#include "base/json.h"

namespace phalanx {
namespace {

std::optional<float> Number(const Json& json, const char* key, double min, double max) {
  const auto it = json.find(key);
  if (it == json.end() || !it->is_number()) return std::nullopt;
  const double value = it->get<double>();
  if (!(value >= min && value <= max)) return std::nullopt;
  return static_cast<float>(value);
}

}  // namespace

Result<GenerationDefaults> LoadGenerationDefaults(const std::string& model_path) {
  const char* off = std::getenv("REMOVE_GENERATION_CONFIG_DICT");
  if (off != nullptr && std::string_view(off) == "1") return GenerationDefaults();
  const std::string path = (std::filesystem::path(model_path) / "generation_config.json").string();
  std::ifstream file(path, std::ios::binary);
  if (!file) return GenerationDefaults();
  std::ostringstream text;
  text << file.rdbuf();
  Result<Json> json = ParseJson(text.str());
  if (!json.ok()) return InvalidArgument(path + ": " + json.status().message());
  if (!json->is_object()) return InvalidArgument(path + ": expected a JSON object");

  GenerationDefaults defaults;
  if (const auto it = json->find("do_sample"); it != json->end() && it->is_boolean()) {
    defaults.do_sample = it->get<bool>();
  }
  defaults.temperature = Number(*json, "temperature", 0, 1e6);
  defaults.top_p = Number(*json, "top_p", 1e-6, 1);
  defaults.repetition_penalty = Number(*json, "repetition_penalty", 1e-6, 1e6);
  defaults.presence_penalty = Number(*json, "presence_penalty", -2, 2);
  defaults.frequency_penalty = Number(*json, "frequency_penalty", -2, 2);
  if (const auto top_k = Number(*json, "top_k", 0, 1e6)) defaults.top_k = static_cast<int32_t>(*top_k);
  return defaults;
}

}  // namespace phalanx
