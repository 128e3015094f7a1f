#include "compute/layers/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace phalanx {
namespace {

std::vector<double> PlainFrequencies(double theta, int dim) {
  std::vector<double> f(static_cast<size_t>(dim) / 2);
  for (size_t i = 0; i < f.size(); ++i) f[i] = std::pow(theta, -2.0 * static_cast<double>(i) / dim);
  return f;
}

double YarnScale(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

void ScaleLlama3(const RopeConfig& rope, std::vector<double>* f) {
  const double original = static_cast<double>(rope.original_max_position);
  for (double& value : *f) {
    const double wavelength = 2 * std::numbers::pi / value;
    if (wavelength < original / rope.high_freq_factor) continue;
    if (wavelength > original / rope.low_freq_factor) {
      value /= rope.factor;
      continue;
    }
    const double t =
        (original / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
    value = (1 - t) * value / rope.factor + t * value;
  }
}

void ScaleYarn(const RopeConfig& rope, RopeFrequencies* result) {
  const double original = static_cast<double>(rope.original_max_position);
  const auto dimension = [&](double rotations) {
    return rope.dim * std::log(original / (rotations * 2 * std::numbers::pi)) / (2 * std::log(rope.theta));
  };
  double low = dimension(rope.beta_fast), high = dimension(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, rope.dim - 1.0);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < result->frequency.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    const double f = result->frequency[i];
    result->frequency[i] = f * (1 - ramp) + f / rope.factor * ramp;
  }
  if (rope.attention_factor) {
    result->amplitude = *rope.attention_factor;
  } else if (rope.mscale != 0 && rope.mscale_all_dim != 0) {
    result->amplitude = YarnScale(rope.factor, rope.mscale) / YarnScale(rope.factor, rope.mscale_all_dim);
  } else {
    result->amplitude = YarnScale(rope.factor, 1);
  }
}

void ScaleLongRope(const RopeConfig& rope, int64_t reserved_length, RopeFrequencies* result) {
  const std::vector<float>& factors =
      reserved_length > rope.original_max_position ? rope.long_factor : rope.short_factor;
  for (size_t i = 0; i < result->frequency.size(); ++i)
    result->frequency[i] /= static_cast<double>(factors[i]);
  if (rope.attention_factor) {
    result->amplitude = *rope.attention_factor;
  } else if (rope.factor > 1) {
    result->amplitude =
        std::sqrt(1 + std::log(rope.factor) / std::log(static_cast<double>(rope.original_max_position)));
  }
}

double DynamicTheta(const RopeConfig& rope, int64_t reserved_length) {
  const double trained = static_cast<double>(rope.max_position);
  const double length = std::max(static_cast<double>(reserved_length), trained);
  return rope.theta *
         std::pow(rope.factor * length / trained - (rope.factor - 1), rope.dim / (rope.dim - 2.0));
}

}  // namespace

RopeFrequencies ComputeRopeFrequencies(const RopeConfig& rope, int64_t reserved_length) {
  RopeFrequencies result;
  const double theta =
      rope.type == RopeConfig::Type::kDynamic ? DynamicTheta(rope, reserved_length) : rope.theta;
  result.frequency = PlainFrequencies(theta, rope.dim);
  for (size_t i = 0; i < rope.divisors.size(); ++i)
    result.frequency[i] /= static_cast<double>(rope.divisors[i]);
  switch (rope.type) {
    case RopeConfig::Type::kDefault:
    case RopeConfig::Type::kDynamic:
      break;
    case RopeConfig::Type::kLinear:
      for (double& f : result.frequency) f /= rope.factor;
      break;
    case RopeConfig::Type::kLlama3:
      ScaleLlama3(rope, &result.frequency);
      break;
    case RopeConfig::Type::kYarn:
      ScaleYarn(rope, &result);
      break;
    case RopeConfig::Type::kLongRope:
      ScaleLongRope(rope, reserved_length, &result);
      break;
  }
  return result;
}

RopeTable::RopeTable(const RopeConfig& rope)
    : rope_(rope),
      half_(rope.dim / 2),
      by_length_(rope.type == RopeConfig::Type::kDynamic || rope.type == RopeConfig::Type::kLongRope),
      short_(ComputeRopeFrequencies(rope, 0)) {}

void RopeTable::FillRow(const RopeFrequencies& frequencies, int64_t position, float* row) const {
  for (int i = 0; i < half_; ++i) {
    const double angle = static_cast<double>(position) * frequencies.frequency[static_cast<size_t>(i)];
    row[i] = static_cast<float>(std::cos(angle) * frequencies.amplitude);
    row[half_ + i] = static_cast<float>(std::sin(angle) * frequencies.amplitude);
  }
}

void RopeTable::Fill(const LayerContext& context, const ForwardBatch& batch) {
  float* table = table_.Reserve(static_cast<size_t>(batch.num_tokens() * 2 * half_));
  const int64_t cost = 64 * half_;  // a cosine and a sine cost as much as touching so many floats
  context.ForRows(batch.num_tokens(), cost, [&](int64_t begin, int64_t end) {
    for (const ForwardSequence& sequence : batch.sequences) {
      const int64_t first = std::max(begin, sequence.first_row);
      const int64_t last = std::min(end, sequence.first_row + sequence.num_rows);
      if (first >= last) continue;
      RopeFrequencies own;
      const bool uses_own = by_length_ && sequence.reserved_length > 0;
      if (uses_own) own = ComputeRopeFrequencies(rope_, sequence.reserved_length);
      for (int64_t row = first; row < last; ++row) {
        const int64_t position = sequence.first_position + row - sequence.first_row;
        FillRow(uses_own ? own : short_, position, table + row * 2 * half_);
      }
    }
  });
}

}  // namespace phalanx
