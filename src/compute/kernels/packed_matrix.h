#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace phalanx {

// Formats of weights in checkpoints that have a packed layout. A new format: one value here, one row in the
// tables of packed_matrix.cc, one inner loop per instruction set.
enum class WeightFormat : uint8_t { kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ4_1 };
inline constexpr int kNumWeightFormats = 6;

std::string_view WeightFormatName(WeightFormat format);  // "F32", ..., "Q4_1"
// Elements that share a scale: 32 for block formats, 1 for float formats.
int WeightGroup(WeightFormat format);
// Whether the matmul reads QuantizedRows (block formats) instead of float rows.
inline bool IsBlockFormat(WeightFormat format) {
  return format >= WeightFormat::kQ8_0;
}
// Bytes of one checkpoint row of k elements (row-major, as safetensors and GGUF store it). Requires: k %
// group == 0.
size_t CheckpointRowBytes(WeightFormat format, int64_t k);

// A weight matrix W [n, k] (y = W x), packed into panels of 16 rows of W ("columns" of the product): panel p
// holds rows 16p ... 16p+15, missing ones are zero. Within a panel, for increasing k:
//   F32          16 floats per k
//   F16, BF16    16 halves per k
//   Q8_0         per group of 32: [8 steps][16 columns][4] bytes q + 128, then 16 fp16 scales            (544
//   bytes) Q4_0         per group of 32: [4][16 columns][4] bytes, low nibble element 4j+i of the group, high
//   nibble element
//                4(j+4)+i, values 0...15 (q + 8); then 16 fp16 scales (288 bytes)
//   Q4_1         as Q4_0 with the nibble as stored, 16 fp16 scales, 16 fp16 minima (320 bytes)
// One layout for every instruction set, layout of ranks and row count: a rank of a tensor-parallel group
// reads its panels, or its range of k of every panel, from the one copy that all ranks of the machine map.
inline constexpr int kPanelColumns = 16;

struct PackedMatrix {
  const std::byte* data = nullptr;  // 64-byte aligned
  WeightFormat format = WeightFormat::kF32;
  int64_t n = 0, k = 0;

  int64_t num_panels() const { return (n + kPanelColumns - 1) / kPanelColumns; }
};

// Bytes from one panel to the next.
size_t PanelBytes(WeightFormat format, int64_t k);
inline size_t PackedBytes(WeightFormat format, int64_t n, int64_t k) {
  return static_cast<size_t>((n + kPanelColumns - 1) / kPanelColumns) * PanelBytes(format, k);
}

// Packs panels [panel_begin, panel_end) of W from its checkpoint rows into `out` (the whole packed matrix,
// panel 0 at out). `row(n)` gives the n-th row's bytes, so that permuted or gathered rows need no copy.
void PackPanels(WeightFormat format, const std::byte* (*row)(const void* context, int64_t n),
                const void* context, int64_t n, int64_t k, int64_t panel_begin, int64_t panel_end,
                std::byte* out);

}  // namespace phalanx
