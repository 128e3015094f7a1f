#include "compute/layers/mlp.h"

#include <algorithm>

namespace phalanx {

Mlp::Mlp(const WeightStore& store, const std::byte* weights, const std::string& prefix,
         const TensorParallelShard& shard, const LayerContext& context)
    : gate_(store, weights, prefix + "gate", shard.intermediate),
      up_(store, weights, prefix + "up", shard.intermediate),
      down_(store, weights, prefix + "down", store.config().down_segments, context) {}

Status Mlp::Forward(const LayerContext& context, const Activations& x, DecoderScratch* scratch,
                    float* out) const {
  const KernelTable& kernels = *context.kernels;
  const int64_t rows = x.rows(), width = gate_.width();
  if (rows == 0) return Status::Ok();
  Activations &gate = scratch->gate, &up = scratch->up;
  gate.Resize(rows, width);
  up.Resize(rows, width);
  // Each thread owns the same panels of gate and up, so that it can go on with the product without waiting.
  const int64_t first_panel = gate_.first_panel(), num_panels = gate_.end_panel() - first_panel;
  const int64_t first_column = -(gate_.first_column() - first_panel * kPanelColumns);
  context.threads->ParallelFor(static_cast<long>(num_panels), 1, [&](long begin, long end, int) {
    gate_.ForwardPanels(kernels, x, first_panel + begin, first_panel + end, gate.Row(0), width);
    up_.ForwardPanels(kernels, x, first_panel + begin, first_panel + end, up.Row(0), width);
    const int64_t from = std::max<int64_t>(first_column + begin * kPanelColumns, 0);
    const int64_t to = std::min<int64_t>(first_column + end * kPanelColumns, width);
    for (int64_t row = 0; row < rows; ++row) {
      kernels.silu_mul(gate.Row(row) + from, up.Row(row) + from, to - from, gate.Row(row) + from);
    }
  });
  if (down_.wants_quantized()) gate.Quantize(context);
  return down_.Forward(context, gate, out);
}

}  // namespace phalanx
