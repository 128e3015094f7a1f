#include "compute/layers/activations.h"

namespace phalanx {

void Activations::Resize(int64_t rows, int64_t width) {
  rows_ = rows;
  width_ = width;
  const size_t elements = static_cast<size_t>(rows * width);
  floats_.Reserve(elements);
  if (width % 32 != 0) return;
  const size_t groups = elements / 32;
  quantized_ = {q_.Reserve(elements), scale_.Reserve(groups), sum_q_.Reserve(groups), sum_.Reserve(groups)};
}

void Activations::QuantizeRows(const KernelTable& kernels, int64_t begin, int64_t end) {
  CHECK(width_ % 32 == 0);
  for (int64_t row = begin; row < end; ++row) kernels.quantize_row(Row(row), width_, row, quantized_);
}

void Activations::Quantize(const LayerContext& context) {
  context.ForRows(rows_, width_,
                  [&](int64_t begin, int64_t end) { QuantizeRows(*context.kernels, begin, end); });
}

}  // namespace phalanx
