#pragma once

#include <immintrin.h>

#include <cstdint>

#include "compute/kernels/simd/inline.h"

#define PHX_ISA avx2

// Sixteen float lanes in two registers, for the code in simd/.
namespace phalanx::avx2 {

struct Vec {
  __m256 lo, hi;
};
struct Mask {
  __m256 lo, hi;
};

// Elements in memory: float, uint16_t (binary16) and this.
struct Bf16 {
  uint16_t bits;
};

// How much of a vector a load or store touches: all 16 lanes, or the first n (1
// ... 15; a load gives 0 in the others).
struct Whole {};
struct First {
  int n;
};

// Lanes in [begin, end); any integers.
PHX_INLINE Mask LanesIn(int begin, int end) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const auto half = [lane](int b, int e) {
    return _mm256_castsi256_ps(_mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(b), lane),
                                                   _mm256_cmpgt_epi32(_mm256_set1_epi32(e), lane)));
  };
  return {half(begin, end), half(begin - 8, end - 8)};
}

PHX_INLINE Vec Zero() {
  return {_mm256_setzero_ps(), _mm256_setzero_ps()};
}
PHX_INLINE Vec Set(float x) {
  return {_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

PHX_INLINE Vec Load(const float* p, Whole) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
PHX_INLINE Vec Load(const float* p, First f) {
  const Mask m = LanesIn(0, f.n);
  return {_mm256_maskload_ps(p, _mm256_castps_si256(m.lo)),
          _mm256_maskload_ps(p + 8, _mm256_castps_si256(m.hi))};
}
PHX_INLINE Vec Load(const uint16_t* p, Whole) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
PHX_INLINE Vec Load(const Bf16* p, Whole) {
  const auto half = [](const Bf16* from) {
    const __m128i upper = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(upper), 16));
  };
  return {half(p), half(p + 8)};
}
PHX_INLINE Vec Load(const uint16_t* p, First f) {
  uint16_t all[16] = {};
  for (int i = 0; i < f.n; ++i) all[i] = p[i];
  return Load(all, Whole{});
}
PHX_INLINE void Store(float* p, Vec a, Whole) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
PHX_INLINE void Store(float* p, Vec a, First f) {
  const Mask m = LanesIn(0, f.n);
  _mm256_maskstore_ps(p, _mm256_castps_si256(m.lo), a.lo);
  _mm256_maskstore_ps(p + 8, _mm256_castps_si256(m.hi), a.hi);
}
// As binary16, rounded to nearest even.
PHX_INLINE void Store(uint16_t* p, Vec a, Whole) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT));
}
PHX_INLINE void Store(uint16_t* p, Vec a, First f) {
  uint16_t all[16];
  Store(all, a, Whole{});
  for (int i = 0; i < f.n; ++i) p[i] = all[i];
}

PHX_INLINE Vec Add(Vec a, Vec b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
PHX_INLINE Vec Sub(Vec a, Vec b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
PHX_INLINE Vec Mul(Vec a, Vec b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
PHX_INLINE Vec Div(Vec a, Vec b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
// a * b + c
PHX_INLINE Vec Fma(Vec a, Vec b, Vec c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
PHX_INLINE Vec Max(Vec a, Vec b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}  // a > b ? a : b
PHX_INLINE Vec Min(Vec a, Vec b) {
  return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}  // a < b ? a : b
PHX_INLINE Vec Abs(Vec a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}
PHX_INLINE Vec Negate(Vec a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_xor_ps(a.lo, sign), _mm256_xor_ps(a.hi, sign)};
}

PHX_INLINE Mask Less(Vec a, Vec b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
}
PHX_INLINE Mask Equal(Vec a, Vec b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ)};
}
PHX_INLINE Vec Select(Mask m, Vec yes, Vec no) {
  return {_mm256_blendv_ps(no.lo, yes.lo, m.lo), _mm256_blendv_ps(no.hi, yes.hi, m.hi)};
}
PHX_INLINE uint32_t Bits(Mask m) {
  return static_cast<uint32_t>(_mm256_movemask_ps(m.lo) | _mm256_movemask_ps(m.hi) << 8);
}

// Adds the integer in the low bits of t to the exponent of a.
PHX_INLINE Vec AddToExponent(Vec a, Vec t) {
  const auto half = [](__m256 x, __m256 y) {
    return _mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_castps_si256(x), _mm256_slli_epi32(_mm256_castps_si256(y), 23)));
  };
  return {half(a.lo, t.lo), half(a.hi, t.hi)};
}
// The lowest byte of each lane's bits.
PHX_INLINE void StoreLowBytes(int8_t* p, Vec a) {
  const __m256i low = _mm256_set1_epi32(255);
  const __m256i words = _mm256_packus_epi32(_mm256_and_si256(_mm256_castps_si256(a.lo), low),
                                            _mm256_and_si256(_mm256_castps_si256(a.hi), low));
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1)));
}

// The lane tree: halves are added to halves, 8, 4, 2, 1.
PHX_INLINE float SumLanes(Vec a) {
  const __m256 s8 = _mm256_add_ps(a.lo, a.hi);
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}
PHX_INLINE float MaxLanes(Vec a) {
  const __m256 m8 = _mm256_max_ps(a.lo, a.hi);
  const __m128 m4 = _mm_max_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
  const __m128 m2 = _mm_max_ps(m4, _mm_movehl_ps(m4, m4));
  return _mm_cvtss_f32(_mm_max_ss(m2, _mm_movehdup_ps(m2)));
}
PHX_INLINE float FirstLane(Vec a) {
  return _mm256_cvtss_f32(a.lo);
}
PHX_INLINE float Sqrt(float x) {
  return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
}

// The attention's register tiles: query rows x 16 tokens x tiles, and query
// rows x vectors of values.
inline constexpr int kScoreRows = 6, kScoreTiles = 1;
inline constexpr int kValueRows = 3, kValueVecs = 2;

}  // namespace phalanx::avx2
