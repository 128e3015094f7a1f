#pragma once

#include <string>

#include "base/status.h"
#include "compute/weights/checkpoint.h"
#include "compute/weights/model_config.h"

namespace phalanx {

// ModelConfig of a Hugging Face folder's config.json (names of transformers 4 and 5). The tokenizer's size comes from tokenizer.json
// where there is one. Unimplemented names a model_type, option or rope type that is not built; InvalidArgument the field.
Result<ModelConfig> ConfigFromHuggingFace(const std::string& folder, const Checkpoint& checkpoint);

// Number of tokens of a tokenizer.json (largest id + 1), read without building its tree; 0 if it can't be told.
int64_t CountTokens(const std::string& tokenizer_json_path);

// Sets the counts that ModelConfig keeps in 32 bits. InvalidArgument if one is not positive or absurd.
Status SetModelCounts(const std::string& where, int64_t layers, int64_t heads, int64_t kv_heads,
                      int64_t head_dim, ModelConfig* config);

// Checks that hold for every source: positive sizes that fit each other. `where` begins the message.
Status CheckModelConfig(const std::string& where, const ModelConfig& config);

}  // namespace phalanx
