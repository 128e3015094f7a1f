#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "compute/weights/model_config.h"

namespace phalanx {

// One tensor that a model needs.
struct TensorSpec {
  std::string name;             // ours: "embed", "layer3.q", "layer3.q.bias", "final_norm", "lm_head"
  std::string checkpoint_name;  // in the source's own words
  int64_t n = 0, k = 0;         // matrix [n, k]; vector [n], k = 0
  int heads = 0;                // > 0: rows come in so many heads whose interleaved rope order is undone
};

// All tensors of a dense decoder, in the order in which a step reads them.
std::vector<TensorSpec> DenseDecoderTensors(const ModelConfig& config, CheckpointSource source);

// Tensors that a checkpoint may hold and nobody needs: buffers of old files, the copy of a tied head, what ModelConfig has read.
bool IsIgnoredTensor(std::string_view checkpoint_name, const ModelConfig& config, CheckpointSource source);

}  // namespace phalanx
