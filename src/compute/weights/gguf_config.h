#pragma once

#include <string>

#include "base/status.h"
#include "compute/weights/gguf.h"
#include "compute/weights/model_config.h"

namespace phalanx {

// ModelConfig of a GGUF file's metadata and tensor names. Unimplemented names an architecture or option that is not built.
Result<ModelConfig> ConfigFromGguf(const std::string& path, const GgufMetadata& metadata,
                                   const Checkpoint& checkpoint);

}  // namespace phalanx
