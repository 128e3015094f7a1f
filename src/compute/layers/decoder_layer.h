#pragma once

#include <functional>
#include <string>

#include "compute/layers/attention.h"
#include "compute/layers/mlp.h"

namespace phalanx {

// What the layers of a step share.
struct StepState {
  const ForwardBatch* batch = nullptr;
  AttentionPlan plan;
  RopeTable rope;
  Activations hidden;  // [rows, hidden]: the residual stream
  Activations normed;  // the input of the part that runs
  Activations part;    // the output of the part that ran
  DecoderScratch scratch;

  StepState(const RopeConfig& rope_config, int num_threads) : rope(rope_config) {
    scratch.thread_scratch.resize(static_cast<size_t>(num_threads));
  }
};

// x += attention(norm(x)); x += mlp(norm(x)).
class DecoderLayer {
 public:
  // See Model::Trace; null most of the time.
  using Trace = std::function<void(std::string_view, const float*, int64_t, int64_t)>;

  DecoderLayer(const WeightStore& store, const std::byte* weights, int32_t layer,
               const TensorParallelShard& shard, const LayerContext& context, const KvCache* cache);

  Status Forward(const LayerContext& context, StepState* step, const Trace& trace) const;

 private:
  std::string name_;  // "layer3"
  const float* attn_norm_;
  const float* mlp_norm_;
  float eps_;
  Attention attention_;
  Mlp mlp_;
};

// normed = RMSNorm(hidden + part), and hidden += part first if `adds_part`; quantised if `quantize`. In one pass over the rows.
void AddAndNorm(const LayerContext& context, StepState* step, bool adds_part, const float* weight, float eps,
                bool quantize);

}  // namespace phalanx
