#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "base/status.h"
#include "compute/weights/checkpoint.h"

namespace phalanx {

// An array of the metadata: where its elements lie in the mapped file, already checked to lie inside.
struct GgufArray {
  uint32_t element_type = 0;
  uint64_t count = 0;
  const std::byte* data = nullptr;
};
// Integers of any width and bools come as int64_t (u64 above its range is refused), f32 and f64 as double.
using GgufValue = std::variant<int64_t, double, std::string_view, GgufArray>;
using GgufMetadata = std::map<std::string, GgufValue, std::less<>>;

// A single GGUF file, version 2 or 3, little-endian.
Result<std::unique_ptr<Checkpoint>> OpenGgufCheckpoint(const std::string& path);

}  // namespace phalanx
