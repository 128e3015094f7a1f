#include <cmath>
#include <limits>

#include "compute/kernels/kernel_test_support.h"

namespace phalanx {
namespace {

constexpr int64_t kLengths[] = {1, 2, 7, 15, 16, 17, 31, 32, 33, 48, 63, 64, 100, 576, 1000};
constexpr float kInfinity = std::numeric_limits<float>::infinity();

float ExpOf(const KernelTable& kernels, float x) {
  return kernels.sum_exp(&x, 1, 0.0f);
}

TEST(ExpReference, IsWithinTwoStepsOfTheExactValue) {
  const KernelTable& reference = *SelectKernels("reference").value();
  for (double x = -87.336; x < 88.722; x += 0.00137) {
    const float input = static_cast<float>(x);
    const double exact = std::exp(static_cast<double>(input));
    const float nearest = static_cast<float>(exact);
    const double step = std::nextafter(nearest, kInfinity) - static_cast<double>(nearest);
    ASSERT_NEAR(ExpOf(reference, input), exact, 1.5 * step) << input;
  }
}

TEST(ExpReference, EndsAreExact) {
  const KernelTable& reference = *SelectKernels("reference").value();
  EXPECT_EQ(ExpOf(reference, 0.0f), 1.0f);
  EXPECT_EQ(ExpOf(reference, -0.0f), 1.0f);
  EXPECT_EQ(ExpOf(reference, -kInfinity), 0.0f);
  EXPECT_EQ(ExpOf(reference, -3e38f), 0.0f);
  EXPECT_EQ(ExpOf(reference, -87.34f), 0.0f);
  EXPECT_EQ(ExpOf(reference, 88.73f), kInfinity);
  EXPECT_EQ(ExpOf(reference, kInfinity), kInfinity);
  EXPECT_TRUE(std::isfinite(ExpOf(reference, 88.722f)));
  EXPECT_TRUE(std::isnan(ExpOf(reference, std::nanf(""))));
  EXPECT_GE(ExpOf(reference, -87.3365f), 0x1p-126f);
}

TEST(RmsNormReference, IsCloseToExactArithmetic) {
  std::mt19937 random(5);
  const int64_t n = 576;
  const std::vector<float> x = RandomFloats(random, n);
  const std::vector<float> w = RandomFloats(random, n);
  std::vector<float> out(n);
  SelectKernels("reference").value()->rms_norm(x.data(), w.data(), 1e-5f, n, out.data());
  double squares = 0;
  for (const float v : x) squares += static_cast<double>(v) * v;
  const double root = std::sqrt(squares / static_cast<double>(n) + 1e-5);
  // 36 additions per lane, 4 in the tree, and half of that after the root; then a division and a product.
  for (int64_t i = 0; i < n; ++i) {
    const double exact = static_cast<double>(x[i]) / root * w[i];
    ASSERT_NEAR(out[i], exact, 25 * 0x1p-24 * std::fabs(exact));
  }
}

TEST(QuantizeReference, StepsRoundingAndSums) {
  const KernelTable& reference = *SelectKernels("reference").value();
  std::vector<float> x(64, 0.0f);
  for (int i = 0; i < 32; ++i) x[i] = static_cast<float>(i) * 0.5f;
  x[31] = -127.0f;
  std::vector<int8_t> q(64);
  std::vector<float> scale(2);
  std::vector<int32_t> sum_q(2);
  std::vector<float> sum(2);
  reference.quantize_row(x.data(), 64, 0, {q.data(), scale.data(), sum_q.data(), sum.data()});
  EXPECT_EQ(scale[0], 1.0f);
  EXPECT_EQ(q[31], -127);
  EXPECT_EQ(q[1], 0);  // 0.5 to even
  EXPECT_EQ(q[3], 2);  // 1.5 to even
  EXPECT_EQ(q[5], 2);  // 2.5 to even
  int32_t expected = 0;
  for (int i = 0; i < 32; ++i) expected += q[i];
  EXPECT_EQ(sum_q[0], expected);
  EXPECT_EQ(sum[0], static_cast<float>(expected));
  EXPECT_EQ(scale[1], 0.0f);
  EXPECT_EQ(q[40], 0);
  EXPECT_EQ(sum[1], 0.0f);
}

class Elementwise : public EachKernelTable {};

TEST_P(Elementwise, ExpEqualsTheReference) {
  std::vector<float> inputs = {0.0f,      -0.0f,      kInfinity,  -kInfinity, 88.7f,  88.73f,
                               88.72284f, -87.33654f, -87.33655f, -87.34f,    -1e30f, 1e30f,
                               1e-30f,    88.72283f,  88.5f,      -87.0f,     -103.0f};
  for (float x = -90.0f; x < 90.0f; x += 0.0113f) inputs.push_back(x);
  for (const float x : inputs) {
    const float expected = ExpOf(*reference_, x);
    const float got = ExpOf(*table_, x);
    ASSERT_TRUE(SameBits(&expected, &got, 1)) << x;
  }
}

TEST_P(Elementwise, NormAddAndSiluEqualTheReference) {
  for (const int64_t n : kLengths) {
    const size_t size = static_cast<size_t>(n);
    const std::vector<float> x = RandomFloats(random_, size, 30.0f);
    const std::vector<float> w = RandomFloats(random_, size);
    // One element more than the kernel may touch.
    std::vector<float> expected(size + 1, 5.0f);
    std::vector<float> got = expected;
    reference_->rms_norm(x.data(), w.data(), 1e-6f, n, expected.data());
    table_->rms_norm(x.data(), w.data(), 1e-6f, n, got.data());
    EXPECT_TRUE(SameBits(expected, got)) << "rms_norm " << n;
    reference_->silu_mul(x.data(), w.data(), n, expected.data());
    table_->silu_mul(x.data(), w.data(), n, got.data());
    EXPECT_TRUE(SameBits(expected, got)) << "silu_mul " << n;
    reference_->add(x.data(), n, expected.data());
    table_->add(x.data(), n, got.data());
    EXPECT_TRUE(SameBits(expected, got)) << "add " << n;
    std::vector<float> in_place = x;
    table_->rms_norm(in_place.data(), w.data(), 1e-6f, n, in_place.data());
    reference_->rms_norm(x.data(), w.data(), 1e-6f, n, expected.data());
    EXPECT_TRUE(SameBits(expected.data(), in_place.data(), size)) << "rms_norm in place " << n;
  }
}

TEST_P(Elementwise, SiluOfLargeValuesEqualsTheReference) {
  const std::vector<float> gate = {-1e30f, -200.0f, -88.8f, -88.0f, -0.0f, 0.0f, 88.0f, 200.0f, 1e30f};
  const std::vector<float> up(gate.size(), 2.0f);
  std::vector<float> expected(gate.size());
  std::vector<float> got(gate.size());
  reference_->silu_mul(gate.data(), up.data(), static_cast<int64_t>(gate.size()), expected.data());
  table_->silu_mul(gate.data(), up.data(), static_cast<int64_t>(gate.size()), got.data());
  EXPECT_TRUE(SameBits(expected, got));
}

TEST_P(Elementwise, RopeEqualsTheReference) {
  for (const int half : {1, 4, 8, 12, 16, 32, 40, 64}) {
    for (const bool interleaved : {false, true}) {
      const std::vector<float> cos_sin = RandomFloats(random_, static_cast<size_t>(2 * half));
      std::vector<float> expected = RandomFloats(random_, static_cast<size_t>(2 * half + 3));
      std::vector<float> got = expected;
      reference_->rope(expected.data(), half, interleaved, cos_sin.data());
      table_->rope(got.data(), half, interleaved, cos_sin.data());
      EXPECT_TRUE(SameBits(expected, got)) << half << " " << interleaved;
    }
  }
}

TEST_P(Elementwise, QuantizeEqualsTheReference) {
  for (const int64_t k : {32, 64, 576}) {
    const size_t size = static_cast<size_t>(k);
    for (const float magnitude : {1.0f, 1e-38f, 1e-44f, 1e30f, 0.0f}) {
      const std::vector<float> x = RandomFloats(random_, size, magnitude);
      struct Out {
        explicit Out(size_t n) : q(2 * n, 99), scale(2 * n / 32), sum_q(scale.size()), sum(scale.size()) {}
        QuantizedRows Rows() { return {q.data(), scale.data(), sum_q.data(), sum.data()}; }
        std::vector<int8_t> q;
        std::vector<float> scale;
        std::vector<int32_t> sum_q;
        std::vector<float> sum;
      } expected(size), got(size);
      reference_->quantize_row(x.data(), k, 1, expected.Rows());
      table_->quantize_row(x.data(), k, 1, got.Rows());
      EXPECT_EQ(expected.q, got.q);
      EXPECT_EQ(expected.sum_q, got.sum_q);
      EXPECT_TRUE(SameBits(expected.scale, got.scale));
      EXPECT_TRUE(SameBits(expected.sum, got.sum));
    }
  }
}

TEST_P(Elementwise, UnpackRowEqualsTheReference) {
  for (const WeightFormat format : kAllWeightFormats) {
    const TestWeight weight(random_, format, 20, 64);
    std::vector<float> expected(64);
    std::vector<float> got(64);
    for (const int64_t column : {0, 15, 16, 19}) {
      reference_->unpack_row(weight.packed, column, expected.data());
      table_->unpack_row(weight.packed, column, got.data());
      EXPECT_TRUE(SameBits(expected, got)) << WeightFormatName(format);
    }
  }
}

TEST_P(Elementwise, RowMaxFindsTheLowestIndexOfTheLargest) {
  for (const int64_t n : kLengths) {
    std::vector<float> x = RandomFloats(random_, static_cast<size_t>(n), 4.0f);
    for (float& v : x) v = std::round(v);  // many ties
    for (const float shift : {0.0f, -10.0f}) {
      for (float& v : x) v += shift;
      const RowMax expected = reference_->row_max(x.data(), n);
      const RowMax got = table_->row_max(x.data(), n);
      EXPECT_EQ(expected.value, got.value);
      EXPECT_EQ(expected.index, got.index);
      EXPECT_EQ(x[static_cast<size_t>(got.index)], got.value);
    }
  }
  const std::vector<float> masked(40, -kInfinity);
  EXPECT_EQ(table_->row_max(masked.data(), 40).index, 0);
}

TEST_P(Elementwise, SumExpEqualsTheReference) {
  for (const int64_t n : kLengths) {
    std::vector<float> x = RandomFloats(random_, static_cast<size_t>(n), 20.0f);
    x[0] = -kInfinity;
    const float expected = reference_->sum_exp(x.data(), n, 20.0f);
    const float got = table_->sum_exp(x.data(), n, 20.0f);
    EXPECT_TRUE(SameBits(&expected, &got, 1)) << n;
  }
}

PHX_FOR_EACH_KERNEL_TABLE(Elementwise);

}  // namespace
}  // namespace phalanx
