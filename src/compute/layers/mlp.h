#pragma once

#include "base/status.h"
#include "compute/layers/attention.h"
#include "compute/layers/linear.h"

namespace phalanx {

// down(silu(gate(x)) * up(x)) of one layer, over this rank's columns of the intermediate dimension.
class Mlp {
 public:
  // Weights "<prefix>gate", "up", "down".
  Mlp(const WeightStore& store, const std::byte* weights, const std::string& prefix,
      const TensorParallelShard& shard, const LayerContext& context);

  bool wants_quantized() const { return gate_.wants_quantized() || up_.wants_quantized(); }

  // out [x.rows, hidden], complete on every rank. x is quantised if wants_quantized().
  Status Forward(const LayerContext& context, const Activations& x, DecoderScratch* scratch,
                 float* out) const;

 private:
  ColumnParallel gate_, up_;
  RowParallel down_;
};

}  // namespace phalanx
