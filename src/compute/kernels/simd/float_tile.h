#pragma once

#include "compute/kernels/simd/mat_mul_driver.h"

// Register tiles of the matrix product for float formats: kRows rows times
// kPanels panels of elements T (float, uint16_t for binary16, or Bf16). One
// fused multiply-add per element of k, row and column, in order of k.
namespace phalanx::PHX_ISA {
namespace {

template <class T, int kRows, int kPanels>
PHX_INLINE void FloatStep(const std::byte* w, int64_t panel_bytes, const float* x, int64_t x_stride,
                          Vec (&acc)[kRows][kPanels]) {
  Vec columns[kPanels];
#pragma GCC unroll 4
  for (int j = 0; j < kPanels; ++j)
    columns[j] = Load(reinterpret_cast<const T*>(w + j * panel_bytes), Whole{});
#pragma GCC unroll 24
  for (int r = 0; r < kRows; ++r) {
    const Vec value = Set(x[r * x_stride]);
#pragma GCC unroll 4
    for (int j = 0; j < kPanels; ++j) acc[r][j] = Fma(value, columns[j], acc[r][j]);
  }
}

template <class T, int kRows, int kPanels>
void FloatTile(const Tile& tile) {
  constexpr int kStepBytes = kPanelColumns * static_cast<int>(sizeof(T));
  constexpr int kSteps = 4;
  const std::byte* w = tile.w;
  const float* x = tile.x;
  Vec acc[kRows][kPanels];
#pragma GCC unroll 24
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < kPanels; ++j) {
      acc[r][j] = tile.first ? Zero() : Load(tile.acc + j * tile.acc_stride + r * kLanes, Whole{});
    }
  }
  int turn = tile.turn;
  int64_t k = 0;
  for (; k + kSteps <= tile.count; k += kSteps) {
    Prefetch<kSteps * kStepBytes, kPanels>(tile, w, turn);
#pragma GCC unroll 4
    for (int i = 0; i < kSteps; ++i) {
      FloatStep<T>(w + i * kStepBytes, tile.panel_bytes, x + i, tile.x_stride, acc);
    }
    w += kSteps * kStepBytes;
    x += kSteps;
  }
  for (; k < tile.count; ++k) {
    FloatStep<T>(w, tile.panel_bytes, x, tile.x_stride, acc);
    w += kStepBytes;
    ++x;
  }
#pragma GCC unroll 24
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < kPanels; ++j) Store(tile.acc + j * tile.acc_stride + r * kLanes, acc[r][j], Whole{});
  }
}

template <class T, int kPanels>
constexpr TileSet kFloatTiles = {
    kPanels,
    6,
    {FloatTile<T, 1, kPanels>, FloatTile<T, 2, kPanels>, FloatTile<T, 3, kPanels>, FloatTile<T, 4, kPanels>,
     FloatTile<T, 5, kPanels>, FloatTile<T, 6, kPanels>}};

constexpr int kStretchBytes = 32 << 10;  // of weights

// kPanels: how many panels one tile takes together. Few rows leave room for
// more chains of additions.
template <class T, int kPanels>
void FloatMatMul(const MatMulArgs& args) {
  constexpr FormatTiles kFormatTiles = {
      .group = 1,
      .group_bytes = kPanelColumns * static_cast<int>(sizeof(T)),
      .row_bytes_per_count = 4,
      .stretch = kStretchBytes / (kPanels * kPanelColumns * static_cast<int>(sizeof(T))),
      .one_panel = &kFloatTiles<T, 1>,
      .some_panels = &kFloatTiles<T, kPanels>};
  RunMatMul(args, kFormatTiles);
}

}  // namespace
}  // namespace phalanx::PHX_ISA
