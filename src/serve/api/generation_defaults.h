#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"

namespace phalanx {

// What a model's generation_config.json says about sampling. Absent: not said.
struct GenerationDefaults {
  std::optional<bool> do_sample;
  std::optional<float> temperature, top_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int32_t> top_k;
};

// Reads `model_path`/generation_config.json. Nothing is said if there is no such file (a .gguf has none) or
// REMOVE_GENERATION_CONFIG_DICT is 1. InvalidArgument for a file that is no JSON object; values of a wrong type or
// range are left out.
Result<GenerationDefaults> LoadGenerationDefaults(const std::string& model_path);

}  // namespace phalanx
