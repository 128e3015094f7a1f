#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/status.h"
#include "compute/kernels/packed_matrix.h"
#include "compute/layers/activations.h"
#include "compute/layers/layer_context.h"
#include "compute/weights/weight_store.h"

namespace phalanx {

// The range of a dimension that a rank of a tensor-parallel group holds.
struct Slice {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};
// Equal parts. Requires: parts divides size.
Slice SliceOf(int64_t size, int parts, int part);

// Some outputs of y = W x + b: rows `slice` of W. Several of them that read the same input run as one parallel region.
class ColumnParallel {
 public:
  ColumnParallel() = default;
  // `name`: the weight; its bias, if the store has one, is "<name>.bias".
  ColumnParallel(const WeightStore& store, const std::byte* weights, const std::string& name, Slice slice);

  int64_t width() const { return slice_.size(); }
  int64_t first_column() const { return slice_.begin; }
  bool wants_quantized() const { return IsBlockFormat(w_.format); }
  // Panels of the weight that the slice touches.
  int64_t first_panel() const { return slice_.begin / kPanelColumns; }
  int64_t end_panel() const { return (slice_.end + kPanelColumns - 1) / kPanelColumns; }
  size_t panel_bytes() const { return PanelBytes(w_.format, w_.k); }

  // Outputs of panels [panel_begin, panel_end), clipped to the slice, for all rows of x: out [x.rows, width()], row
  // stride `out_stride`. x is quantised already if wants_quantized().
  void ForwardPanels(const KernelTable& kernels, const Activations& x, int64_t panel_begin, int64_t panel_end,
                     float* out, int64_t out_stride) const;

 private:
  PackedMatrix w_;
  const float* bias_ = nullptr;
  Slice slice_;
};

// One ColumnParallel and where its outputs go.
struct ColumnTask {
  const ColumnParallel* linear;
  float* out;
  int64_t out_stride;
};
// Runs all tasks over the threads in one region, split by the bytes of their panels. Requires: x is quantised if one wants it.
void ForwardColumns(const LayerContext& context, const Activations& x, std::span<const ColumnTask> tasks);

// y = W x + b where this rank holds a part of x: columns `slice` of W. The sum over the whole inner dimension is a balanced tree over
// `segments` equal parts, whatever the number of ranks (see DESIGN: one order of summation).
class RowParallel {
 public:
  RowParallel() = default;
  // Requires: the group's size divides `segments`, and `segments` the inner dimension, block formats in whole groups.
  RowParallel(const WeightStore& store, const std::byte* weights, const std::string& name, int segments,
              const LayerContext& context);

  int64_t inner_width() const { return slice_.size(); }
  int64_t width() const { return w_.n; }
  bool wants_quantized() const { return IsBlockFormat(w_.format); }

  // out [x.rows, width()], complete on every rank. x [rows, inner_width()] is quantised already if wants_quantized().
  Status Forward(const LayerContext& context, const Activations& x, float* out) const;

 private:
  PackedMatrix w_;
  const float* bias_ = nullptr;
  Slice slice_;
  int segments_ = 1;  // of this rank
};

// The floats of a vector (norm, bias) in the segment; null if the store has none of that name.
const float* FindVector(const WeightStore& store, const std::byte* weights, const std::string& name);

}  // namespace phalanx
