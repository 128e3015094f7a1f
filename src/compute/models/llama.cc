#include "compute/models/llama.h"

#include <cstring>
#include <vector>

#include "compute/layers/decoder_layer.h"
#include "compute/layers/lm_head.h"

namespace phalanx {
namespace {

class Llama : public Model {
 public:
  Llama(const WeightStore& store, const ModelContext& context, const LayerContext& layer_context,
        const TensorParallelShard& shard)
      : config_(store.config()),
        context_(layer_context),
        embedding_(store, context.weights),
        final_norm_(FindVector(store, context.weights, "final_norm")),
        lm_head_(store, context.weights, layer_context),
        step_(store.config().rope, context.threads->size()) {
    for (int32_t layer = 0; layer < config_.num_layers; ++layer) {
      layers_.emplace_back(store, context.weights, layer, shard, layer_context, context.cache);
    }
  }

  Status Forward(const ForwardBatch& batch, std::span<float> logits) override;

 private:
  void GatherLogitsRows(const ForwardBatch& batch);

  ModelConfig config_;
  LayerContext context_;
  Embedding embedding_;
  std::vector<DecoderLayer> layers_;
  const float* final_norm_;
  LmHead lm_head_;
  StepState step_;
};

Status Llama::Forward(const ForwardBatch& batch, std::span<float> logits) {
  const int64_t rows = batch.num_tokens(), hidden = config_.hidden_size;
  if (rows == 0) return Status::Ok();
  CHECK(static_cast<int64_t>(logits.size()) >=
        static_cast<int64_t>(batch.logits_rows.size()) * config_.vocab_size);
  step_.batch = &batch;
  step_.plan.Build(batch);
  step_.rope.Fill(context_, batch);
  step_.hidden.Resize(rows, hidden);
  RETURN_IF_ERROR(embedding_.Forward(context_, batch.token_ids, step_.hidden.Row(0)));
  if (trace_) trace_("embedding", step_.hidden.Row(0), rows, hidden);
  for (const DecoderLayer& layer : layers_) RETURN_IF_ERROR(layer.Forward(context_, &step_, trace_));

  if (batch.logits_rows.empty()) return Status::Ok();
  GatherLogitsRows(batch);
  AddAndNorm(context_, &step_, false, final_norm_, config_.rms_norm_eps, lm_head_.wants_quantized());
  if (trace_) trace_("final_norm", step_.normed.Row(0), step_.normed.rows(), hidden);
  return lm_head_.Forward(context_, step_.normed, logits.data());
}

// Moves the rows whose logits are wanted to the front of the hidden states.
void Llama::GatherLogitsRows(const ForwardBatch& batch) {
  const int64_t wanted = static_cast<int64_t>(batch.logits_rows.size());
  for (int64_t i = 0; i < wanted; ++i) {
    const int64_t row = batch.logits_rows[static_cast<size_t>(i)];
    CHECK(row >= i && row < batch.num_tokens());
    if (row == i) continue;
    std::memcpy(step_.hidden.Row(i), step_.hidden.Row(row),
                static_cast<size_t>(config_.hidden_size) * sizeof(float));
  }
  step_.hidden.Resize(wanted, config_.hidden_size);
}

}  // namespace

Result<std::unique_ptr<Model>> BuildLlama(const WeightStore& store, const ModelContext& context) {
  LayerContext layer_context;
  layer_context.kernels = context.kernels;
  layer_context.threads = context.threads;
  layer_context.tp = context.attn_tp;
  const int tp = layer_context.tp_size();
  RETURN_IF_ERROR(CheckTensorParallel(store.config(), tp));
  const TensorParallelShard shard = ShardOf(store.config(), tp, layer_context.tp_rank());
  const KvCacheShape& shape = context.cache->shape();
  if (shape.num_layers != store.config().num_layers || shape.num_kv_heads != shard.kv_heads.size() ||
      shape.head_dim != store.config().head_dim) {
    return InvalidArgument(
        "the key/value cache has " + std::to_string(shape.num_layers) + " layers of " +
        std::to_string(shape.num_kv_heads) + " heads of " + std::to_string(shape.head_dim) +
        "; the rank needs " + std::to_string(store.config().num_layers) + " of " +
        std::to_string(shard.kv_heads.size()) + " of " + std::to_string(store.config().head_dim));
  }
  return std::unique_ptr<Model>(std::make_unique<Llama>(store, context, layer_context, shard));
}

}  // namespace phalanx
