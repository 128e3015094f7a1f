#include "compute/kernels/avx512/vec.h"
// The loops over these vectors:
#include "compute/kernels/simd/float_tile.h"

// Register tiles of the matrix product with AVX-512 VNNI.
//
// vpdpbusd multiplies unsigned by signed bytes, so the weights are the unsigned
// side: nibbles as they are, or q + 128. The offset comes off in integers: sum
// (q + offset) x = sum q x + offset sum x, so a group's dot product starts from
// -offset * sum_q. Four bytes of a row's activations are broadcast from memory
// to all 16 columns.
namespace phalanx::avx512 {
namespace {

constexpr int kRowsTogether = 2;

PHX_INLINE int32_t Load32(const int8_t* p) {
  int32_t value;
  __builtin_memcpy(&value, p, 4);
  return value;
}
PHX_INLINE __m512i LoadBytes(const std::byte* p) {
  return _mm512_loadu_si512(p);
}
PHX_INLINE __m512 LoadHalves(const std::byte* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

template <WeightFormat kFormat>
constexpr int kGroupBytes = kFormat == WeightFormat::kQ8_0   ? 544
                            : kFormat == WeightFormat::kQ4_0 ? 288
                                                             : 320;
template <WeightFormat kFormat>
constexpr int kScaleOffset = kFormat == WeightFormat::kQ8_0 ? 512 : 256;

template <WeightFormat kFormat>
PHX_INLINE void LoadWeights(const std::byte* w, __m512i (&out)[8]) {
  if constexpr (kFormat == WeightFormat::kQ8_0) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) out[j] = LoadBytes(w + 64 * j);
  } else {
    const __m512i low = _mm512_set1_epi8(15);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m512i pairs = LoadBytes(w + 64 * j);
      out[j] = _mm512_and_si512(pairs, low);
      out[j + 4] = _mm512_and_si512(_mm512_srli_epi16(pairs, 4), low);
    }
  }
}

// What a row's dot products start from: -offset * sum_q.
template <WeightFormat kFormat>
PHX_INLINE __m512i DotStart(const int32_t* sum_q) {
  if constexpr (kFormat == WeightFormat::kQ4_1) {
    return _mm512_setzero_si512();
  } else {
    constexpr int kShift = kFormat == WeightFormat::kQ8_0 ? 7 : 3;  // offset 128 or 8
    return _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(_mm512_set1_epi32(*sum_q), kShift));
  }
}

// The exact dot products of kTogether rows' groups with 16 columns. A row alone
// goes as two chains, several go side by side: a chain of 8 steps is longer
// than what the processor looks ahead.
template <int kTogether>
PHX_INLINE void Dot(const __m512i (&w)[8], const int8_t* q, int64_t q_stride, __m512i (&dot)[kTogether]) {
  if constexpr (kTogether == 1) {
    __m512i other = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      dot[0] = _mm512_dpbusd_epi32(dot[0], w[j], _mm512_set1_epi32(Load32(q + 4 * j)));
      other = _mm512_dpbusd_epi32(other, w[j + 4], _mm512_set1_epi32(Load32(q + 4 * j + 16)));
    }
    dot[0] = _mm512_add_epi32(dot[0], other);
  } else {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
#pragma GCC unroll 4
      for (int i = 0; i < kTogether; ++i) {
        dot[i] = _mm512_dpbusd_epi32(dot[i], w[j], _mm512_set1_epi32(Load32(q + i * q_stride + 4 * j)));
      }
    }
  }
}

// One group of one panel, unpacked.
struct Group {
  __m512i weights[8];
  __m512 scale;
  __m512 min;
};

template <WeightFormat kFormat>
PHX_INLINE void LoadGroup(const std::byte* w, Group& out) {
  LoadWeights<kFormat>(w, out.weights);
  out.scale = LoadHalves(w + kScaleOffset<kFormat>);
  if constexpr (kFormat == WeightFormat::kQ4_1) out.min = LoadHalves(w + kScaleOffset<kFormat> + 32);
}

// Adds group g of the activations' rows [kRow, kRow + kTogether) times the
// weights.
template <WeightFormat kFormat, int kRow, int kTogether, int kRows>
PHX_INLINE void AddGroup(const Tile& tile, int64_t g, const Group& w, __m512 (&acc)[kRows]) {
  const int64_t index = kRow * tile.groups_stride + g;
  __m512i dot[kTogether];
#pragma GCC unroll 4
  for (int i = 0; i < kTogether; ++i) dot[i] = DotStart<kFormat>(tile.sum_q + index + i * tile.groups_stride);
  Dot(w.weights, tile.q + 32 * index, 32 * tile.groups_stride, dot);
#pragma GCC unroll 4
  for (int i = 0; i < kTogether; ++i) {
    const int64_t row_index = index + i * tile.groups_stride;
    const __m512 both_scales = _mm512_mul_ps(w.scale, _mm512_set1_ps(tile.scale[row_index]));
    __m512& sum = acc[kRow + i];
    sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[i]), both_scales, sum);
    if constexpr (kFormat == WeightFormat::kQ4_1) {
      sum = _mm512_fmadd_ps(w.min, _mm512_set1_ps(tile.sum[row_index]), sum);
    }
  }
}

// The same for all rows from kRow on.
template <WeightFormat kFormat, int kRow, int kRows>
PHX_INLINE void AddGroups(const Tile& tile, int64_t g, const Group& w, __m512 (&acc)[kRows]) {
  if constexpr (kRow < kRows) {
    constexpr int kTogether = kRows - kRow < kRowsTogether ? kRows - kRow : kRowsTogether;
    AddGroup<kFormat, kRow, kTogether>(tile, g, w, acc);
    AddGroups<kFormat, kRow + kTogether>(tile, g, w, acc);
  }
}

template <WeightFormat kFormat, int kRows>
void BlockTile(const Tile& tile) {
  const std::byte* w = tile.w;
  __m512 acc[kRows];
#pragma GCC unroll 24
  for (int r = 0; r < kRows; ++r) {
    acc[r] = tile.first ? _mm512_setzero_ps() : _mm512_load_ps(tile.acc + r * kLanes);
  }
  int turn = tile.turn;
  for (int64_t g = 0; g < tile.count; ++g) {
    Prefetch<kGroupBytes<kFormat>, 1>(tile, w, turn);
    Group group;
    LoadGroup<kFormat>(w, group);
    AddGroups<kFormat, 0>(tile, g, group, acc);
    w += kGroupBytes<kFormat>;
  }
#pragma GCC unroll 24
  for (int r = 0; r < kRows; ++r) _mm512_store_ps(tile.acc + r * kLanes, acc[r]);
}

template <WeightFormat kFormat>
constexpr TileSet kBlockTiles = {
    1,
    16,
    {BlockTile<kFormat, 1>, BlockTile<kFormat, 2>, BlockTile<kFormat, 3>, BlockTile<kFormat, 4>,
     BlockTile<kFormat, 5>, BlockTile<kFormat, 6>, BlockTile<kFormat, 7>, BlockTile<kFormat, 8>,
     BlockTile<kFormat, 9>, BlockTile<kFormat, 10>, BlockTile<kFormat, 11>, BlockTile<kFormat, 12>,
     BlockTile<kFormat, 13>, BlockTile<kFormat, 14>, BlockTile<kFormat, 15>, BlockTile<kFormat, 16>}};

template <WeightFormat kFormat>
void BlockMatMul(const MatMulArgs& args) {
  constexpr FormatTiles kFormatTiles = {.group = 32,
                                        .group_bytes = kGroupBytes<kFormat>,
                                        .row_bytes_per_count = 44,
                                        .stretch = 16,
                                        .one_panel = &kBlockTiles<kFormat>,
                                        .some_panels = &kBlockTiles<kFormat>};
  RunMatMul(args, kFormatTiles);
}

template <class T>
void FloatMatMulOf(const MatMulArgs& args) {
  return args.rows <= 2 ? FloatMatMul<T, 2>(args) : FloatMatMul<T, 4>(args);
}

}  // namespace

void MatMul(const MatMulArgs& args) {
  switch (args.w.format) {
    case WeightFormat::kF32:
      return FloatMatMulOf<float>(args);
    case WeightFormat::kF16:
      return FloatMatMulOf<uint16_t>(args);
    case WeightFormat::kBF16:
      return FloatMatMulOf<Bf16>(args);
    case WeightFormat::kQ8_0:
      return BlockMatMul<WeightFormat::kQ8_0>(args);
    case WeightFormat::kQ4_0:
      return BlockMatMul<WeightFormat::kQ4_0>(args);
    case WeightFormat::kQ4_1:
      return BlockMatMul<WeightFormat::kQ4_1>(args);
  }
}

}  // namespace phalanx::avx512
