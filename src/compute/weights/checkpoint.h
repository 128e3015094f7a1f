#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "compute/kernels/packed_matrix.h"
#include "compute/weights/model_config.h"

namespace phalanx {

// A tensor as it lies in a mapped checkpoint file. Offsets may be unaligned for the type.
struct CheckpointTensor {
  std::string name;
  std::string type_name;               // as the file says it: "BF16", "Q4_1", "I64", ...
  std::optional<WeightFormat> format;  // none: a type that has no packed layout here
  std::vector<int64_t> shape;          // outermost first, [out, in] for matrices
  const std::byte* data = nullptr;
  size_t bytes = 0;
  std::string_view file;  // path of its file, for messages; lives as long as the checkpoint
};

// "[64, 128]"
std::string ShapeString(const std::vector<int64_t>& shape);

// A checkpoint on disk, its headers read and checked: every tensor lies inside its file and overlaps no other. Immutable;
// owns the mappings.
class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  // What messages call it: the folder or the .gguf file.
  virtual const std::string& path() const = 0;
  virtual CheckpointSource source() const = 0;
  virtual Result<ModelConfig> ReadConfig() const = 0;

  const std::vector<CheckpointTensor>& tensors() const { return tensors_; }
  // Null if there is none of that name.
  const CheckpointTensor* Find(std::string_view name) const;

 protected:
  // Sorts the tensors by name; InvalidArgument naming a tensor that occurs twice, and where.
  Status SetTensors(std::vector<CheckpointTensor> tensors);

 private:
  std::vector<CheckpointTensor> tensors_;  // by name
};

// `path`: a Hugging Face directory or a .gguf file. NotFound, InvalidArgument or Unimplemented with file, tensor and reason.
Result<std::unique_ptr<Checkpoint>> OpenCheckpoint(const std::string& path);

}  // namespace phalanx
