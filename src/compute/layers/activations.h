#pragma once

#include <cstdint>

#include "compute/layers/layer_context.h"

namespace phalanx {

// Rows of one width: floats, and their quantised form for weights in block formats. Owns and reuses its memory.
class Activations {
 public:
  // Room for [rows, width]; contents are undefined.
  void Resize(int64_t rows, int64_t width);

  int64_t rows() const { return rows_; }
  int64_t width() const { return width_; }
  float* Row(int64_t row) { return floats_.data() + row * width_; }
  const float* Row(int64_t row) const { return floats_.data() + row * width_; }

  // Quantises rows [begin, end). Requires: width is a multiple of 32.
  void QuantizeRows(const KernelTable& kernels, int64_t begin, int64_t end);
  // Quantises all rows, on all threads if they are many.
  void Quantize(const LayerContext& context);
  const QuantizedRows& quantized() const { return quantized_; }

 private:
  int64_t rows_ = 0, width_ = 0;
  ScratchBuffer<float> floats_;
  ScratchBuffer<int8_t> q_;
  ScratchBuffer<float> scale_, sum_;
  ScratchBuffer<int32_t> sum_q_;
  QuantizedRows quantized_ = {};
};

}  // namespace phalanx
