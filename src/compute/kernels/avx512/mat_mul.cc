#include "compute/kernels/avx512/vec.h"
// The loops over these vectors:
#include "compute/kernels/simd/float_tile.h"

// Register tiles of the matrix product with AVX-512 VNNI.
//
// vpdpbusd multiplies unsigned by signed bytes, so the weights are the unsigned side: nibbles as they are, or q + 128.
// The offset comes off in integers: sum (q + offset) x = sum q x + offset sum x, so a group's dot product starts from
// -offset * sum_q. Four bytes of a row's activations are broadcast from memory to all 16 columns.
namespace phalanx::avx512 {
namespace {

inline int32_t Load32(const int8_t* p) {
  int32_t value;
  __builtin_memcpy(&value, p, 4);
  return value;
}
inline __m512i LoadBytes(const std::byte* p) {
  return _mm512_loadu_si512(p);
}
inline __m512 LoadHalves(const std::byte* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

template <WeightFormat kFormat>
constexpr int kGroupBytes = kFormat == WeightFormat::kQ8_0   ? 544
                            : kFormat == WeightFormat::kQ4_0 ? 288
                                                             : 320;
template <WeightFormat kFormat>
constexpr int kScaleOffset = kFormat == WeightFormat::kQ8_0 ? 512 : 256;

template <WeightFormat kFormat>
inline void LoadWeights(const std::byte* w, __m512i (&out)[8]) {
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

// The exact dot products of one row's group with 16 columns.
template <WeightFormat kFormat, bool kTwoChains>
inline __m512i Dot(const __m512i (&w)[8], const int8_t* q, const int32_t* sum_q) {
  __m512i dot = _mm512_setzero_si512();
  if constexpr (kFormat != WeightFormat::kQ4_1) {
    constexpr int kShift = kFormat == WeightFormat::kQ8_0 ? 7 : 3;  // offset 128 or 8
    dot = _mm512_sub_epi32(dot, _mm512_slli_epi32(_mm512_set1_epi32(*sum_q), kShift));
  }
  if constexpr (kTwoChains) {
    __m512i other = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      dot = _mm512_dpbusd_epi32(dot, w[j], _mm512_set1_epi32(Load32(q + 4 * j)));
      other = _mm512_dpbusd_epi32(other, w[j + 4], _mm512_set1_epi32(Load32(q + 4 * j + 16)));
    }
    return _mm512_add_epi32(dot, other);
  } else {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) dot = _mm512_dpbusd_epi32(dot, w[j], _mm512_set1_epi32(Load32(q + 4 * j)));
    return dot;
  }
}

template <WeightFormat kFormat, int kRows>
void BlockTile(const Tile& tile) {
  const std::byte* w = tile.w;
  const int8_t* q = tile.q;
  const int64_t q_stride = 32 * tile.groups_stride;
  __m512 acc[kRows];
#pragma GCC unroll 24
  for (int r = 0; r < kRows; ++r)
    acc[r] = tile.first ? _mm512_setzero_ps() : _mm512_load_ps(tile.acc + r * kLanes);
  for (int64_t g = 0; g < tile.count; ++g) {
    PrefetchLines<kGroupBytes<kFormat>>(PrefetchAddress(tile, w));
    __m512i weights[8];
    LoadWeights<kFormat>(w, weights);
    const __m512 scale = LoadHalves(w + kScaleOffset<kFormat>);
    __m512 min = _mm512_setzero_ps();
    if constexpr (kFormat == WeightFormat::kQ4_1) min = LoadHalves(w + kScaleOffset<kFormat> + 32);
#pragma GCC unroll 24
    for (int r = 0; r < kRows; ++r) {
      const int64_t group = r * tile.groups_stride + g;
      const __m512i dot = Dot<kFormat, (kRows <= 2)>(weights, q + r * q_stride, tile.sum_q + group);
      const __m512 both_scales = _mm512_mul_ps(scale, _mm512_set1_ps(tile.scale[group]));
      acc[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), both_scales, acc[r]);
      if constexpr (kFormat == WeightFormat::kQ4_1) {
        acc[r] = _mm512_fmadd_ps(min, _mm512_set1_ps(tile.sum[group]), acc[r]);
      }
    }
    w += kGroupBytes<kFormat>;
    q += 32;
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
