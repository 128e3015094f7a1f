#pragma once

#include <memory>

#include "compute/models/model.h"

namespace phalanx {

// Llama 2 and 3, SmolLM2, Mistral: pre-norm decoder with rotary grouped-query attention and a gated MLP.
Result<std::unique_ptr<Model>> BuildLlama(const WeightStore& store, const ModelContext& context);

}  // namespace phalanx
