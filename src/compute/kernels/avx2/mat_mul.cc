#include "compute/kernels/avx2/vec.h"
// The loops over these vectors:
#include "compute/kernels/simd/float_tile.h"

// Register tiles of the matrix product with AVX2. A panel's 16 columns are two
// registers of 8.
//
// vpmaddubsw multiplies unsigned by signed bytes and adds pairs in 16 bits,
// with saturation. Nibbles (Q4_0, Q4_1) are the unsigned side as they are: a
// pair is at most 2 * 15 * 127, so that all 8 steps of a group, 30480, fit into
// 16 bits. Q8_0 has signed weights: |w| is the unsigned side and the activation
// takes w's sign (w x = |w| (sign(w) x)); a pair is at most 2 * 128 * 127 =
// 32512, so each step goes on to 32 bits. Activations are never -128, which the
// change of sign could not represent.
namespace phalanx::avx2 {
namespace {

PHX_INLINE __m256i LoadBytes(const std::byte* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
PHX_INLINE __m256 LoadHalves(const std::byte* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
PHX_INLINE __m256i Broadcast4(const int8_t* p) {
  int32_t value;
  __builtin_memcpy(&value, p, 4);
  return _mm256_set1_epi32(value);
}

template <WeightFormat kFormat>
constexpr int kGroupBytes = kFormat == WeightFormat::kQ8_0   ? 544
                            : kFormat == WeightFormat::kQ4_0 ? 288
                                                             : 320;
template <WeightFormat kFormat>
constexpr int kScaleOffset = kFormat == WeightFormat::kQ8_0 ? 512 : 256;

// Step j of both halves of a panel: signed bytes of Q8_0, or nibbles.
template <WeightFormat kFormat>
PHX_INLINE void LoadStep(const std::byte* w, int j, __m256i (&out)[2]) {
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
    if constexpr (kFormat == WeightFormat::kQ8_0) {
      out[h] = _mm256_xor_si256(LoadBytes(w + 64 * j + 32 * h), _mm256_set1_epi8(-128));
    } else {
      const __m256i pairs = LoadBytes(w + 64 * (j % 4) + 32 * h);
      out[h] = _mm256_and_si256(j < 4 ? pairs : _mm256_srli_epi16(pairs, 4), _mm256_set1_epi8(15));
    }
  }
}

// Adds the products of one step to a row's sums: in 32 bits for Q8_0, in 16
// bits for nibbles.
template <WeightFormat kFormat>
PHX_INLINE __m256i AddProducts(__m256i sum, __m256i w, __m256i x) {
  if constexpr (kFormat == WeightFormat::kQ8_0) {
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  } else {
    sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x));
  }
  // Keeps the compiler from putting the additions off to the end of the group
  // and the products into memory.
  asm("" : "+x"(sum));
  return sum;
}

// The exact dot product from the sums of all steps.
template <WeightFormat kFormat>
PHX_INLINE __m256i FinishDot(__m256i sum, int32_t sum_q) {
  if constexpr (kFormat == WeightFormat::kQ8_0) return sum;
  const __m256i dot = _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
  if constexpr (kFormat == WeightFormat::kQ4_1) return dot;
  return _mm256_sub_epi32(dot, _mm256_set1_epi32(8 * sum_q));
}

// All rows take a step together: a step's weights and each row's broadcast are
// loaded once for both halves, and the rows' chains of additions hide each
// other's latency.
template <WeightFormat kFormat, int kRows>
void BlockTile(const Tile& tile) {
  const std::byte* w = tile.w;
  const int64_t q_stride = 32 * tile.groups_stride;
  __m256 acc[kRows][2];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      acc[r][h] = tile.first ? _mm256_setzero_ps() : _mm256_load_ps(tile.acc + r * kLanes + 8 * h);
    }
  }
  int turn = tile.turn;
  for (int64_t g = 0; g < tile.count; ++g) {
    Prefetch<kGroupBytes<kFormat>, 1>(tile, w, turn);
    const int8_t* q = tile.q + 32 * g;
    __m256i sums[kRows][2] = {};
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      __m256i step[2];
      LoadStep<kFormat>(w, j, step);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const __m256i x = Broadcast4(q + r * q_stride + 4 * j);
#pragma GCC unroll 2
        for (int h = 0; h < 2; ++h) sums[r][h] = AddProducts<kFormat>(sums[r][h], step[h], x);
      }
    }
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const std::byte* scales = w + kScaleOffset<kFormat> + 16 * h;
      const __m256 scale = LoadHalves(scales);
      __m256 min = _mm256_setzero_ps();
      if constexpr (kFormat == WeightFormat::kQ4_1) min = LoadHalves(scales + 32);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const int64_t group = r * tile.groups_stride + g;
        const __m256 dot = _mm256_cvtepi32_ps(FinishDot<kFormat>(sums[r][h], tile.sum_q[group]));
        const __m256 both_scales = _mm256_mul_ps(scale, _mm256_set1_ps(tile.scale[group]));
        acc[r][h] = _mm256_fmadd_ps(dot, both_scales, acc[r][h]);
        if constexpr (kFormat == WeightFormat::kQ4_1) {
          acc[r][h] = _mm256_fmadd_ps(min, _mm256_set1_ps(tile.sum[group]), acc[r][h]);
        }
      }
    }
    w += kGroupBytes<kFormat>;
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) _mm256_store_ps(tile.acc + r * kLanes + 8 * h, acc[r][h]);
  }
}

template <WeightFormat kFormat>
constexpr TileSet kBlockTiles = {1,
                                 6,
                                 {BlockTile<kFormat, 1>, BlockTile<kFormat, 2>, BlockTile<kFormat, 3>,
                                  BlockTile<kFormat, 4>, BlockTile<kFormat, 5>, BlockTile<kFormat, 6>}};

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
  return args.rows <= 2 ? FloatMatMul<T, 2>(args) : FloatMatMul<T, 1>(args);
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

}  // namespace phalanx::avx2
