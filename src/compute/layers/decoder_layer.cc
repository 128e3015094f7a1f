#include "compute/layers/decoder_layer.h"

namespace phalanx {
namespace {

void AddPart(const LayerContext& context, StepState* step) {
  const int64_t width = step->hidden.width();
  context.ForRows(step->hidden.rows(), width, [&](int64_t begin, int64_t end) {
    context.kernels->add(step->part.Row(begin), (end - begin) * width, step->hidden.Row(begin));
  });
}

}  // namespace

void AddAndNorm(const LayerContext& context, StepState* step, bool adds_part, const float* weight, float eps,
                bool quantize) {
  const KernelTable& kernels = *context.kernels;
  const int64_t width = step->hidden.width();
  step->normed.Resize(step->hidden.rows(), width);
  context.ForRows(step->hidden.rows(), 2 * width, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      if (adds_part) kernels.add(step->part.Row(row), width, step->hidden.Row(row));
      kernels.rms_norm(step->hidden.Row(row), weight, eps, width, step->normed.Row(row));
    }
    if (quantize) step->normed.QuantizeRows(kernels, begin, end);
  });
}

DecoderLayer::DecoderLayer(const WeightStore& store, const std::byte* weights, int32_t layer,
                           const TensorParallelShard& shard, const LayerContext& context,
                           const KvCache* cache)
    : name_("layer" + std::to_string(layer)),
      attn_norm_(FindVector(store, weights, name_ + ".attn_norm")),
      mlp_norm_(FindVector(store, weights, name_ + ".mlp_norm")),
      eps_(store.config().rms_norm_eps),
      attention_(store, weights, name_ + ".", layer, shard, context, cache),
      mlp_(store, weights, name_ + ".", shard, context) {}

Status DecoderLayer::Forward(const LayerContext& context, StepState* step, const Trace& trace) const {
  const int64_t rows = step->hidden.rows(), width = step->hidden.width();
  step->part.Resize(rows, width);
  AddAndNorm(context, step, false, attn_norm_, eps_, attention_.wants_quantized());
  RETURN_IF_ERROR(attention_.Forward(context, *step->batch, step->plan, step->rope, step->normed,
                                     &step->scratch, step->part.Row(0)));
  if (trace) trace(name_ + ".attention", step->part.Row(0), rows, width);
  AddAndNorm(context, step, true, mlp_norm_, eps_, mlp_.wants_quantized());
  RETURN_IF_ERROR(mlp_.Forward(context, step->normed, &step->scratch, step->part.Row(0)));
  if (trace) trace(name_ + ".mlp", step->part.Row(0), rows, width);
  AddPart(context, step);
  if (trace) trace(name_, step->hidden.Row(0), rows, width);
  return Status::Ok();
}

}  // namespace phalanx
