#pragma once

#include "base/status.h"
#include "compute/layers/linear.h"
#include "compute/weights/model_config.h"

namespace phalanx {

// What one rank of an attention-tp group computes of a model.
struct TensorParallelShard {
  Slice heads;  // query heads
  Slice
      kv_heads;  // the key/value heads that they read; with fewer heads than ranks, several ranks hold the same
  Slice intermediate;  // columns of the MLP
};

// Whether a model can be split over `tp` ranks so that every layout gives the same bits: tp divides the segments of
// both reductions and fits the heads. InvalidArgument names tp, the heads and the tp sizes that work.
Status CheckTensorParallel(const ModelConfig& config, int tp);

// Requires: CheckTensorParallel(config, tp) is ok, 0 <= rank < tp.
TensorParallelShard ShardOf(const ModelConfig& config, int tp, int rank);

}  // namespace phalanx
