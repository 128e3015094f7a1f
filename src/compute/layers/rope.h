#pragma once

#include <cstdint>
#include <vector>

#include "compute/layers/forward_batch.h"
#include "compute/layers/layer_context.h"
#include "compute/weights/model_config.h"

namespace phalanx {

// Angle per position and pair: position * frequency[i]; cos and sin are multiplied by `amplitude`.
struct RopeFrequencies {
  std::vector<double> frequency;  // [rope.dim / 2]
  double amplitude = 1;
};

// Frequencies of a sequence that will have up to `reserved_length` tokens (0: no more than the model was trained for): only
// types dynamic and longrope look at it. Formulas: transformers' modeling_rope_utils.
RopeFrequencies ComputeRopeFrequencies(const RopeConfig& rope, int64_t reserved_length);

// cos and sin of every row of a step, angles in double. Reused from step to step.
class RopeTable {
 public:
  explicit RopeTable(const RopeConfig& rope);

  int half() const { return half_; }
  // Fills the table for the rows of `batch`.
  void Fill(const LayerContext& context, const ForwardBatch& batch);
  // [2][half]: cosines, then sines.
  const float* Row(int64_t row) const { return table_.data() + row * 2 * half_; }

 private:
  void FillRow(const RopeFrequencies& frequencies, int64_t position, float* row) const;

  RopeConfig rope_;
  int half_;
  bool by_length_;         // whether a sequence's reserved length matters
  RopeFrequencies short_;  // of reserved length 0
  ScratchBuffer<float> table_;
};

}  // namespace phalanx
