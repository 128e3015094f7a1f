#include <bit>
#include <cmath>
#include <limits>

#include "compute/kernels/exp_constants.h"
#include "compute/kernels/reference/kernels.h"

namespace phalanx::reference {

float Exp(float x) {
  using namespace exp_constants;
  if (x < kMinX) return 0;
  if (x > kMaxX) return std::numeric_limits<float>::infinity();
  const float t = std::fma(x, kLog2e, kRound);
  const float n = t - kRound;
  const float r = std::fma(n, -kLn2Low, std::fma(n, -kLn2High, x));
  float p = kC6;
  for (const float c : {kC5, kC4, kC3, kC2, 1.0f, 1.0f}) p = std::fma(p, r, c);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(p) + (std::bit_cast<uint32_t>(t) << 23));
}

float SumLanes(const float (&lanes)[kLanes]) {
  float sums[kLanes];
  for (int i = 0; i < kLanes; ++i) sums[i] = lanes[i];
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) sums[i] = sums[i] + sums[i + width];
  }
  return sums[0];
}

void QuantizeRow(const float* x, int64_t k, int64_t row, const QuantizedRows& out) {
  constexpr int kGroup = 32;
  constexpr float kRound =
      exp_constants::kRound;  // adding it leaves round-to-nearest-even(v) in the low bits
  for (int64_t g = 0; g < k / kGroup; ++g) {
    const float* values = x + g * kGroup;
    float max = 0;
    for (int i = 0; i < kGroup; ++i) {
      const float magnitude = std::fabs(values[i]);
      max = magnitude > max ? magnitude : max;
    }
    const float scale = max / 127.0f;
    int32_t sum = 0;
    for (int i = 0; i < kGroup; ++i) {
      float v = scale == 0 ? 0.0f : values[i] / scale;
      v = v > -127.0f ? v : -127.0f;
      v = v < 127.0f ? v : 127.0f;
      const int32_t q = std::bit_cast<int32_t>(v + kRound) - std::bit_cast<int32_t>(kRound);
      out.q[row * k + g * kGroup + i] = static_cast<int8_t>(q);
      sum += q;
    }
    const int64_t index = row * (k / kGroup) + g;
    out.scale[index] = scale;
    out.sum_q[index] = sum;
    out.sum[index] = scale * static_cast<float>(sum);
  }
}

void RmsNorm(const float* x, const float* w, float eps, int64_t n, float* out) {
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i % kLanes] = std::fma(x[i], x[i], lanes[i % kLanes]);
  const float root = std::sqrt(SumLanes(lanes) / static_cast<float>(n) + eps);
  for (int64_t i = 0; i < n; ++i) out[i] = w[i] * (x[i] / root);
}

void Add(const float* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = y[i] + x[i];
}

void SiluMul(const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = gate[i] / (1.0f + Exp(-gate[i])) * up[i];
}

void Rope(float* x, int half, bool interleaved, const float* cos_sin) {
  for (int i = 0; i < half; ++i) {
    float& first = interleaved ? x[2 * i] : x[i];
    float& second = interleaved ? x[2 * i + 1] : x[i + half];
    const float a = first;
    const float b = second;
    const float cos = cos_sin[i];
    const float sin = cos_sin[half + i];
    first = std::fma(a, cos, -(b * sin));
    second = std::fma(b, cos, a * sin);
  }
}

RowMax FindRowMax(const float* x, int64_t n) {
  RowMax best = {-std::numeric_limits<float>::infinity(), 0};
  for (int64_t i = 0; i < n; ++i) {
    if (x[i] > best.value) best = {x[i], static_cast<int32_t>(i)};
  }
  return best;
}

float SumExp(const float* x, int64_t n, float max) {
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i % kLanes] = lanes[i % kLanes] + Exp(x[i] - max);
  return SumLanes(lanes);
}

}  // namespace phalanx::reference
