#pragma once

#include <string>

#include "base/status.h"
#include "config/serve_config.h"

namespace phalanx {

enum class CheckpointKind { kHuggingFace, kGguf };

// A checkpoint on disk: the Hugging Face folder, or the .gguf file itself.
struct ModelPath {
  CheckpointKind kind = CheckpointKind::kHuggingFace;
  std::string path;
};

// What `modelWeightPath` names: a Hugging Face folder (config.json and *.safetensors), a folder with exactly
// one .gguf file, or a .gguf file. A folder that holds both counts as Hugging Face. Looks at names only,
// never into files. Errors: NotFound (nothing there), InvalidArgument (empty, several .gguf files, no model
// in the folder, not a .gguf); the message names the path and what was expected.
Result<ModelPath> ResolveModelPath(const std::string& model_weight_path);

// What is unusual about owner and mode of `model_weight_path` (wider than 0750, another owner, a symbolic link), in
// one line; empty if nothing is, or if config.environment.check_inputfiles_permission is off. To be told as a warning.
std::string ModelPathWarning(const ServeConfig& config);

}  // namespace phalanx
