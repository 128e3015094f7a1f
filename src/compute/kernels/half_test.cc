#include "compute/kernels/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace phalanx {
namespace {

TEST(Half, EveryNumberSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    const float value = HalfToFloat(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(HalfToFloat(FloatToHalf(value)))) << bits;
    } else {
      EXPECT_EQ(FloatToHalf(value), half) << bits;
    }
  }
}

TEST(Half, RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const float low = HalfToFloat(static_cast<uint16_t>(bits));
    const float high = HalfToFloat(static_cast<uint16_t>(bits + 1));
    const float middle = low + (high - low) / 2;
    const uint32_t even = bits % 2 == 0 ? bits : bits + 1;
    EXPECT_EQ(FloatToHalf(middle), even);
    EXPECT_EQ(FloatToHalf(std::nextafter(middle, 0.0f)), bits);
    EXPECT_EQ(FloatToHalf(std::nextafter(middle, 1e9f)), bits + 1);
    EXPECT_EQ(FloatToHalf(-middle), even | 0x8000);
  }
}

TEST(Half, OverflowsOrSaturates) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(FloatToHalf(65519.996f), 0x7bff);
  EXPECT_EQ(FloatToHalf(65520.0f), 0x7c00);
  EXPECT_EQ(FloatToHalf(-infinity), 0xfc00);
  EXPECT_EQ(HalfToFloat(FloatToHalfSaturated(1e9f)), 65504.0f);
  EXPECT_EQ(HalfToFloat(FloatToHalfSaturated(-infinity)), -65504.0f);
  EXPECT_EQ(HalfToFloat(FloatToHalfSaturated(1.5f)), 1.5f);
}

}  // namespace
}  // namespace phalanx
