#pragma once

#include <string>

#include "base/status.h"

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

}  // namespace phalanx
