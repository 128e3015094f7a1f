#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "compute/kernels/packed_matrix.h"
#include "compute/weights/model_config.h"

namespace phalanx {

// Where one tensor lies in the packed segment.
struct PackedTensor {
  size_t offset = 0;  // bytes from the segment's start, 64-byte aligned
  WeightFormat format = WeightFormat::kF32;
  int64_t n = 0, k = 0;  // matrices: packed panels; vectors (norms, biases): n floats, k = 0
};

// A checkpoint (Hugging Face directory or GGUF file) with the plan of its packed copy. Every rank opens it and comes to the same plan;
// the ranks of a machine share the packing work by task number and then all map the one result. Immutable.
class WeightStore {
 public:
  // `path` as ResolveModelPath gives it: a Hugging Face directory or a .gguf file. Reads headers only. A damaged,
  // truncated or unknown checkpoint is refused with file, tensor and reason.
  static Result<std::unique_ptr<WeightStore>> Open(const std::string& path);
  ~WeightStore();

  const ModelConfig& config() const;
  // Size of the packed segment.
  size_t packed_bytes() const;
  // Packing work in similar portions; every task writes its own part of the segment.
  int num_tasks() const;
  Status RunTask(int task, std::byte* segment) const;
  // By our own names: "embed", "layer3.q", "layer3.q.bias", ... null if the model has none.
  const PackedTensor* Find(std::string_view name) const;
  // The matrix of a packed tensor in `segment`. Requires: Find(name) gives a matrix.
  PackedMatrix Matrix(std::string_view name, const std::byte* segment) const;

 private:
  struct State;
  explicit WeightStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace phalanx
