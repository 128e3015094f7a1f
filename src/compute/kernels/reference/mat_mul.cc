#include <bit>
#include <cmath>
#include <cstring>

#include "compute/kernels/half.h"
#include "compute/kernels/reference/kernels.h"

namespace phalanx::reference {
namespace {

constexpr int kGroup = 32;

float HalfAt(const std::byte* p) {
  uint16_t bits;
  std::memcpy(&bits, p, 2);
  return HalfToFloat(bits);
}

// One column's part of one group of a block format's panel.
struct ColumnGroup {
  int q[kGroup];  // signed, offset removed; Q4_1: as stored
  float scale;
  float min;
};

ColumnGroup ReadGroup(const PackedMatrix& w, int64_t column, int64_t group) {
  const size_t panel_bytes = PanelBytes(w.format, w.k);
  const std::byte* p = w.data + static_cast<size_t>(column / kPanelColumns) * panel_bytes +
                       static_cast<size_t>(group) * (panel_bytes / static_cast<size_t>(w.k / kGroup));
  const int c = static_cast<int>(column % kPanelColumns);
  ColumnGroup out = {};
  const bool is_q8 = w.format == WeightFormat::kQ8_0;
  const int words = is_q8 ? 8 : 4;
  for (int j = 0; j < words; ++j) {
    for (int i = 0; i < 4; ++i) {
      const int byte = static_cast<int>(p[4 * (j * kPanelColumns + c) + i]);
      const int offset = w.format == WeightFormat::kQ4_1 ? 0 : 8;
      if (is_q8) {
        out.q[4 * j + i] = byte - 128;
      } else {
        out.q[4 * j + i] = (byte & 15) - offset;
        out.q[4 * (j + 4) + i] = (byte >> 4) - offset;
      }
    }
  }
  const std::byte* scales = p + 4 * words * kPanelColumns;
  out.scale = HalfAt(scales + 2 * c);
  if (w.format == WeightFormat::kQ4_1) out.min = HalfAt(scales + 2 * (kPanelColumns + c));
  return out;
}

float BlockChain(const MatMulArgs& args, int64_t row, int64_t column, int64_t k_begin, int64_t k_end) {
  const int64_t x_k = args.k_end - args.k_begin;
  float acc = 0;
  for (int64_t k = k_begin; k < k_end; k += kGroup) {
    const ColumnGroup w = ReadGroup(args.w, column, k / kGroup);
    const int64_t x_begin = k - args.k_begin;
    const int8_t* q = args.xq.q + row * x_k + x_begin;
    int32_t dot = 0;
    for (int i = 0; i < kGroup; ++i) dot += w.q[i] * q[i];
    const int64_t x_group = (row * x_k + x_begin) / kGroup;
    acc = std::fma(static_cast<float>(dot), w.scale * args.xq.scale[x_group], acc);
    if (args.w.format == WeightFormat::kQ4_1) acc = std::fma(w.min, args.xq.sum[x_group], acc);
  }
  return acc;
}

// A weight of a float format.
float FloatWeightAt(const PackedMatrix& w, int64_t column, int64_t k) {
  const std::byte* panel = w.data + static_cast<size_t>(column / kPanelColumns) * PanelBytes(w.format, w.k);
  const int64_t index = k * kPanelColumns + column % kPanelColumns;
  switch (w.format) {
    case WeightFormat::kF32: {
      float value;
      std::memcpy(&value, panel + 4 * index, 4);
      return value;
    }
    case WeightFormat::kF16:
      return HalfAt(panel + 2 * index);
    case WeightFormat::kBF16: {
      uint16_t bits;
      std::memcpy(&bits, panel + 2 * index, 2);
      return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
    }
    default:
      return 0;
  }
}

float FloatChain(const MatMulArgs& args, int64_t row, int64_t column, int64_t k_begin, int64_t k_end) {
  const float* x = args.x + row * args.x_stride - args.k_begin;
  float acc = 0;
  for (int64_t k = k_begin; k < k_end; ++k) acc = std::fma(x[k], FloatWeightAt(args.w, column, k), acc);
  return acc;
}

// The sum over `segments` equal parts of [k_begin, k_end), as a balanced tree.
float SegmentTree(const MatMulArgs& args, int64_t row, int64_t column, int64_t k_begin, int64_t k_end,
                  int segments) {
  if (segments > 1) {
    const int64_t middle = k_begin + (k_end - k_begin) / 2;
    const float left = SegmentTree(args, row, column, k_begin, middle, segments / 2);
    return left + SegmentTree(args, row, column, middle, k_end, segments / 2);
  }
  return IsBlockFormat(args.w.format) ? BlockChain(args, row, column, k_begin, k_end)
                                      : FloatChain(args, row, column, k_begin, k_end);
}

}  // namespace

void UnpackRow(const PackedMatrix& w, int64_t column, float* out) {
  if (!IsBlockFormat(w.format)) {
    for (int64_t k = 0; k < w.k; ++k) out[k] = FloatWeightAt(w, column, k);
    return;
  }
  for (int64_t k = 0; k < w.k; k += kGroup) {
    const ColumnGroup group = ReadGroup(w, column, k / kGroup);
    // 8 and 11 bits: the product is exact.
    for (int i = 0; i < kGroup; ++i) out[k + i] = static_cast<float>(group.q[i]) * group.scale + group.min;
  }
}

void MatMul(const MatMulArgs& args) {
  for (int64_t row = 0; row < args.rows; ++row) {
    for (int64_t column = args.n_begin; column < args.n_end; ++column) {
      args.out[row * args.out_stride + column - args.n_begin] =
          SegmentTree(args, row, column, args.k_begin, args.k_end, args.segments);
    }
  }
}

}  // namespace phalanx::reference
