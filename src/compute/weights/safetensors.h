#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "compute/weights/checkpoint.h"

namespace phalanx {

// A directory with config.json and model.safetensors, or model.safetensors.index.json and its shards, or a single other
// *.safetensors. Every shard's header is checked: sizes, types, overlaps; names of the index and of the shards must agree.
Result<std::unique_ptr<Checkpoint>> OpenHuggingFaceCheckpoint(const std::string& folder);

}  // namespace phalanx
