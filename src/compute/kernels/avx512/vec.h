#pragma once

#include <immintrin.h>

#include <cstdint>

#include "compute/kernels/simd/inline.h"

#define PHX_ISA avx512

// Sixteen float lanes in one register, for the code in simd/.
namespace phalanx::avx512 {

struct Vec {
  __m512 v;
};
using Mask = __mmask16;

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
PHX_INLINE Mask FirstMask(int n) {
  return static_cast<Mask>((1u << n) - 1);
}

PHX_INLINE Vec Zero() {
  return {_mm512_setzero_ps()};
}
PHX_INLINE Vec Set(float x) {
  return {_mm512_set1_ps(x)};
}

PHX_INLINE Vec Load(const float* p, Whole) {
  return {_mm512_loadu_ps(p)};
}
PHX_INLINE Vec Load(const float* p, First f) {
  return {_mm512_maskz_loadu_ps(FirstMask(f.n), p)};
}
PHX_INLINE Vec Load(const uint16_t* p, Whole) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
PHX_INLINE Vec Load(const Bf16* p, Whole) {
  const __m256i upper = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(upper), 16))};
}
PHX_INLINE Vec Load(const uint16_t* p, First f) {
  return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(FirstMask(f.n), p))};
}
PHX_INLINE void Store(float* p, Vec a, Whole) {
  _mm512_storeu_ps(p, a.v);
}
PHX_INLINE void Store(float* p, Vec a, First f) {
  _mm512_mask_storeu_ps(p, FirstMask(f.n), a.v);
}
// As binary16, rounded to nearest even.
PHX_INLINE void Store(uint16_t* p, Vec a, Whole) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
PHX_INLINE void Store(uint16_t* p, Vec a, First f) {
  _mm256_mask_storeu_epi16(p, FirstMask(f.n),
                           _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

PHX_INLINE Vec Add(Vec a, Vec b) {
  return {_mm512_add_ps(a.v, b.v)};
}
PHX_INLINE Vec Sub(Vec a, Vec b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
PHX_INLINE Vec Mul(Vec a, Vec b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
PHX_INLINE Vec Div(Vec a, Vec b) {
  return {_mm512_div_ps(a.v, b.v)};
}
PHX_INLINE Vec Fma(Vec a, Vec b, Vec c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}  // a * b + c
PHX_INLINE Vec Max(Vec a, Vec b) {
  return {_mm512_max_ps(a.v, b.v)};
}  // a > b ? a : b
PHX_INLINE Vec Min(Vec a, Vec b) {
  return {_mm512_min_ps(a.v, b.v)};
}  // a < b ? a : b
PHX_INLINE Vec Abs(Vec a) {
  return {_mm512_abs_ps(a.v)};
}
PHX_INLINE Vec Negate(Vec a) {
  return {_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f))};
}

PHX_INLINE Mask Less(Vec a, Vec b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ);
}
PHX_INLINE Mask Equal(Vec a, Vec b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ);
}
// Lanes in [begin, end); any integers.
PHX_INLINE Mask LanesIn(int begin, int end) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_cmplt_epi32_mask(lane, _mm512_set1_epi32(end)) &
         _mm512_cmpge_epi32_mask(lane, _mm512_set1_epi32(begin));
}
PHX_INLINE Vec Select(Mask m, Vec yes, Vec no) {
  return {_mm512_mask_blend_ps(m, no.v, yes.v)};
}
PHX_INLINE uint32_t Bits(Mask m) {
  return m;
}

// Adds the integer in the low bits of t to the exponent of a.
PHX_INLINE Vec AddToExponent(Vec a, Vec t) {
  return {_mm512_castsi512_ps(
      _mm512_add_epi32(_mm512_castps_si512(a.v), _mm512_slli_epi32(_mm512_castps_si512(t.v), 23)))};
}
// The lowest byte of each lane's bits.
PHX_INLINE void StoreLowBytes(int8_t* p, Vec a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_castps_si512(a.v)));
}

// The lane tree: halves are added to halves, 8, 4, 2, 1.
PHX_INLINE float SumLanes(Vec a) {
  const __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}
PHX_INLINE float MaxLanes(Vec a) {
  const __m256 m8 = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 m4 = _mm_max_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
  const __m128 m2 = _mm_max_ps(m4, _mm_movehl_ps(m4, m4));
  return _mm_cvtss_f32(_mm_max_ss(m2, _mm_movehdup_ps(m2)));
}
PHX_INLINE float FirstLane(Vec a) {
  return _mm512_cvtss_f32(a.v);
}
PHX_INLINE float Sqrt(float x) {
  return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
}

// The attention's register tiles: query rows x 16 tokens x tiles, and query
// rows x vectors of values.
inline constexpr int kScoreRows = 8, kScoreTiles = 2;
inline constexpr int kValueRows = 6, kValueVecs = 4;

}  // namespace phalanx::avx512
