#pragma once

#include "compute/kernels/simd/exp.h"
#include "compute/kernels/simd/kernels.h"

// The kernels that walk over one row, written once over a vector of 16 lanes
// and compiled for each instruction set in its own namespace. Included by the
// elementwise.cc of each, after its vec.h.
namespace phalanx::PHX_ISA {
namespace {

// Calls f(i, Whole{}) for each full vector of [0, n), then f(i, First{rest}) if
// elements are left.
template <class F>
inline void ForEachVec(int64_t n, F f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i, Whole{});
  if (i < n) f(i, First{static_cast<int>(n - i)});
}

// `a` in the lanes of the part, `other` beyond them.
inline Vec Within(Whole, Vec a, Vec) {
  return a;
}
inline Vec Within(First f, Vec a, Vec other) {
  return Select(LanesIn(0, f.n), a, other);
}

inline uint32_t BitsWithin(Whole, Mask m) {
  return Bits(m);
}
inline uint32_t BitsWithin(First f, Mask m) {
  return Bits(m) & ((1u << f.n) - 1);
}

}  // namespace

void QuantizeRow(const float* x, int64_t k, int64_t row, const QuantizedRows& out) {
  constexpr int kGroup = 32;
  const Vec round = Set(exp_constants::kRound);  // adding it leaves round-to-nearest-even(v)
                                                 // in the low bits
  for (int64_t g = 0; g < k / kGroup; ++g) {
    Vec v[2] = {Load(x + g * kGroup, Whole{}), Load(x + g * kGroup + kLanes, Whole{})};
    const float scale = MaxLanes(Max(Abs(v[1]), Max(Abs(v[0]), Zero()))) / 127.0f;
    Vec sum = Zero();
    for (int i = 0; i < 2; ++i) {
      const Vec ratio = scale == 0 ? Zero() : Div(v[i], Set(scale));
      const Vec shifted = Add(Min(Max(ratio, Set(-127.0f)), Set(127.0f)), round);
      StoreLowBytes(out.q + row * k + g * kGroup + i * kLanes, shifted);
      sum = Add(sum, Sub(shifted, round));
    }
    const float sum_q = SumLanes(sum);
    const int64_t index = row * (k / kGroup) + g;
    out.scale[index] = scale;
    out.sum_q[index] = static_cast<int32_t>(sum_q);
    out.sum[index] = scale * sum_q;
  }
}

void RmsNorm(const float* x, const float* w, float eps, int64_t n, float* out) {
  Vec sum = Zero();
  ForEachVec(n, [&](int64_t i, auto part) {
    const Vec v = Load(x + i, part);
    sum = Fma(v, v, sum);
  });
  const Vec root = Set(Sqrt(SumLanes(sum) / static_cast<float>(n) + eps));
  ForEachVec(n, [&](int64_t i, auto part) {
    Store(out + i, Mul(Load(w + i, part), Div(Load(x + i, part), root)), part);
  });
}

void AddTo(const float* x, int64_t n, float* y) {
  ForEachVec(n, [&](int64_t i, auto part) { Store(y + i, Add(Load(y + i, part), Load(x + i, part)), part); });
}

void SiluMul(const float* gate, const float* up, int64_t n, float* out) {
  ForEachVec(n, [&](int64_t i, auto part) {
    const Vec z = Load(gate + i, part);
    const Vec silu = Div(z, Add(Set(1.0f), Exp(Negate(z))));
    Store(out + i, Mul(silu, Load(up + i, part)), part);
  });
}

void Rope(float* x, int half, bool interleaved, const float* cos_sin) {
  if (interleaved) {
    for (int i = 0; i < half; ++i) {
      const float a = x[2 * i];
      const float b = x[2 * i + 1];
      const float cos = cos_sin[i];
      const float sin = cos_sin[half + i];
      x[2 * i] = __builtin_fmaf(a, cos, -(b * sin));
      x[2 * i + 1] = __builtin_fmaf(b, cos, a * sin);
    }
    return;
  }
  ForEachVec(half, [&](int64_t i, auto part) {
    const Vec a = Load(x + i, part);
    const Vec b = Load(x + half + i, part);
    const Vec cos = Load(cos_sin + i, part);
    const Vec sin = Load(cos_sin + half + i, part);
    Store(x + i, Fma(a, cos, Negate(Mul(b, sin))), part);
    Store(x + half + i, Fma(b, cos, Mul(a, sin)), part);
  });
}

// Finds the value first; its place is then the first that equals it.
RowMax FindRowMax(const float* x, int64_t n) {
  const float lowest = -__builtin_inff();
  Vec best = Set(lowest);
  ForEachVec(n, [&](int64_t i, auto part) { best = Max(Within(part, Load(x + i, part), best), best); });
  const float max = MaxLanes(best);
  if (max == lowest) return {lowest, 0};
  int64_t index = -1;
  ForEachVec(n, [&](int64_t i, auto part) {
    if (index >= 0) return;
    const uint32_t equal = BitsWithin(part, Equal(Load(x + i, part), Set(max)));
    if (equal != 0) index = i + __builtin_ctz(equal);
  });
  return {x[index], static_cast<int32_t>(index)};
}

float SumExp(const float* x, int64_t n, float max) {
  Vec sum = Zero();
  ForEachVec(n, [&](int64_t i, auto part) {
    sum = Add(sum, Within(part, Exp(Sub(Load(x + i, part), Set(max))), Zero()));
  });
  return SumLanes(sum);
}

}  // namespace phalanx::PHX_ISA
