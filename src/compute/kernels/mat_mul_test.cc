#include <algorithm>
#include <cmath>
#include <limits>

#include "compute/kernels/kernel_test_support.h"

namespace phalanx {
namespace {

// Activations of one test, as floats and quantised by the reference.
struct TestRows {
  TestRows(std::mt19937& random, int64_t num_rows, int64_t num_k) : rows(num_rows), k(num_k) {
    x = RandomFloats(random, static_cast<size_t>(rows * k));
    q.resize(x.size());
    scale.resize(static_cast<size_t>(rows * (k / 32)));
    sum_q.resize(scale.size());
    sum.resize(scale.size());
    if (k % 32 != 0) return;
    for (int64_t r = 0; r < rows; ++r)
      SelectKernels("reference").value()->quantize_row(x.data() + r * k, k, r, Quantized());
  }
  QuantizedRows Quantized() { return {q.data(), scale.data(), sum_q.data(), sum.data()}; }

  int64_t rows, k;
  std::vector<float> x;
  std::vector<int8_t> q;
  std::vector<float> scale;
  std::vector<int32_t> sum_q;
  std::vector<float> sum;
};

struct Ranges {
  int64_t n_begin, n_end, k_begin, k_end;
  int segments;
};

std::vector<float> Multiply(const KernelTable& kernels, const TestWeight& weight, TestRows& rows,
                            const Ranges& range) {
  const int64_t columns = range.n_end - range.n_begin;
  const int64_t stride = columns + 3;
  std::vector<float> out(static_cast<size_t>(rows.rows * stride), -77.0f);
  MatMulArgs args;
  args.w = weight.packed;
  args.rows = rows.rows;
  args.x = rows.x.data();
  args.x_stride = rows.k;
  args.xq = rows.Quantized();
  args.n_begin = range.n_begin;
  args.n_end = range.n_end;
  args.k_begin = range.k_begin;
  args.k_end = range.k_end;
  args.segments = range.segments;
  args.out = out.data();
  args.out_stride = stride;
  kernels.mat_mul(args);
  std::vector<float> dense;
  for (int64_t r = 0; r < rows.rows; ++r) {
    for (int64_t c = 0; c < stride; ++c) {
      const float value = out[static_cast<size_t>(r * stride + c)];
      if (c < columns) {
        dense.push_back(value);
      } else {
        EXPECT_EQ(value, -77.0f) << "wrote beyond the range of columns";
      }
    }
  }
  return dense;
}

// fp32 chains of m roundings of partial sums no larger than sum |x w| differ from the exact sum by at most
// m 2^-24 sum |x w|, and quantising an activation errs by half a step of its group.
TEST(MatMulReference, IsCloseToExactArithmetic) {
  std::mt19937 random(3);
  const KernelTable& reference = *SelectKernels("reference").value();
  for (const WeightFormat format : kAllWeightFormats) {
    const int64_t n = 21;
    const int64_t k = 256;
    const TestWeight weight(random, format, n, k);
    TestRows rows(random, 3, k);
    for (const int segments : {1, 8}) {
      const std::vector<float> got = Multiply(reference, weight, rows, {0, n, 0, k, segments});
      for (int64_t r = 0; r < rows.rows; ++r) {
        for (int64_t c = 0; c < n; ++c) {
          double exact = 0;
          double magnitude = 0;
          double step_error = 0;
          for (int64_t i = 0; i < k; ++i) {
            const double x = rows.x[r * k + i];
            const double w = weight.values[c * k + i];
            exact += x * w;
            magnitude += std::fabs(x * w);
            if (IsBlockFormat(format)) step_error += std::fabs(w) * rows.scale[(r * k + i) / 32] / 2;
          }
          const double tolerance = 2.0 * static_cast<double>(k) * 0x1p-24 * magnitude + 1.001 * step_error;
          ASSERT_NEAR(got[r * n + c], exact, tolerance)
              << WeightFormatName(format) << " row " << r << " column " << c;
        }
      }
    }
  }
}

// Halves of k computed apart and added give the bits of the whole: what ranks of a tensor-parallel group rely on.
TEST(MatMulReference, HalvesAddUpToTheSegmentTree) {
  std::mt19937 random(4);
  const KernelTable& reference = *SelectKernels("reference").value();
  for (const WeightFormat format : kAllWeightFormats) {
    const int64_t n = 16;
    const int64_t k = 512;
    const TestWeight weight(random, format, n, k);
    TestRows rows(random, 2, k);
    const std::vector<float> whole = Multiply(reference, weight, rows, {0, n, 0, k, 8});
    std::vector<float> sum(whole.size(), 0.0f);
    for (int half = 0; half < 2; ++half) {
      TestRows part(random, 2, k / 2);
      for (int64_t r = 0; r < 2; ++r) {
        std::copy_n(rows.x.begin() + r * k + half * k / 2, k / 2, part.x.begin() + r * k / 2);
        reference.quantize_row(part.x.data() + r * k / 2, k / 2, r, part.Quantized());
      }
      const std::vector<float> got =
          Multiply(reference, weight, part, {0, n, half * k / 2, (half + 1) * k / 2, 4});
      for (size_t i = 0; i < sum.size(); ++i) sum[i] = half == 0 ? got[i] : sum[i] + got[i];
    }
    EXPECT_TRUE(SameBits(whole, sum)) << WeightFormatName(format);
  }
}

class MatMul : public EachKernelTable {
 protected:
  void ExpectSame(WeightFormat format, const TestWeight& weight, TestRows& rows, const Ranges& range) {
    const std::vector<float> expected = Multiply(*reference_, weight, rows, range);
    EXPECT_TRUE(SameBits(expected, Multiply(*table_, weight, rows, range)))
        << WeightFormatName(format) << " rows " << rows.rows << " n [" << range.n_begin << ", " << range.n_end
        << ") of " << weight.packed.n << " k [" << range.k_begin << ", " << range.k_end << ") of "
        << weight.packed.k << " segments " << range.segments;
  }
};

TEST_P(MatMul, EveryRowCountEqualsTheReference) {
  for (const WeightFormat format : kAllWeightFormats) {
    const int64_t n = 101;
    const int64_t k = IsBlockFormat(format) ? 96 : 37;
    const TestWeight weight(random_, format, n, k);
    for (int rows_count = 0; rows_count <= 40; ++rows_count) {
      TestRows rows(random_, rows_count, k);
      ExpectSame(format, weight, rows, {0, n, 0, k, 1});
    }
    for (const int rows_count : {127, 130, 150}) {
      TestRows rows(random_, rows_count, k);
      ExpectSame(format, weight, rows, {0, n, 0, k, 1});
    }
  }
}

TEST_P(MatMul, RangesAndSegmentsEqualTheReference) {
  for (const WeightFormat format : kAllWeightFormats) {
    const int64_t n = 85;
    const int64_t k = 640;
    const int64_t cut = IsBlockFormat(format) ? 96 : 50;
    const TestWeight weight(random_, format, n, k);
    for (const int rows_count : {1, 2, 3, 5, 7, 17, 33}) {
      TestRows all(random_, rows_count, k);
      TestRows part(random_, rows_count, 256);
      TestRows group(random_, rows_count, 32);
      for (const int segments : {1, 2, 4, 8}) {
        if (segments != 8 || !IsBlockFormat(format)) ExpectSame(format, weight, all, {0, n, 0, k, segments});
        ExpectSame(format, weight, part, {5, 70, cut, cut + 256, segments});
        ExpectSame(format, weight, part, {33, 47, 0, 256, segments});
        ExpectSame(format, weight, part, {16, 80, 384, 640, segments});
      }
      ExpectSame(format, weight, group, {84, 85, 608, 640, 1});
      ExpectSame(format, weight, group, {7, 7, 0, 32, 1});
    }
  }
}

TEST_P(MatMul, OneRowAloneEqualsTheRowAmongMany) {
  for (const WeightFormat format : kAllWeightFormats) {
    const int64_t n = 64;
    const int64_t k = 672;
    const TestWeight weight(random_, format, n, k);
    TestRows many(random_, 40, k);
    const std::vector<float> together = Multiply(*table_, weight, many, {0, n, 0, k, 1});
    for (const int64_t r : {0, 1, 23, 39}) {
      TestRows one(random_, 1, k);
      std::copy_n(many.x.begin() + r * k, k, one.x.begin());
      reference_->quantize_row(one.x.data(), k, 0, one.Quantized());
      const std::vector<float> alone = Multiply(*table_, weight, one, {0, n, 0, k, 1});
      EXPECT_TRUE(SameBits(alone.data(), together.data() + r * n, static_cast<size_t>(n)))
          << WeightFormatName(format);
    }
  }
}

// The largest products that the formats allow: nothing saturates on the way to 32 bits.
TEST_P(MatMul, ExtremeValuesStayExact) {
  for (const WeightFormat format : {WeightFormat::kQ8_0, WeightFormat::kQ4_0, WeightFormat::kQ4_1}) {
    for (const int byte : {0x00, 0xff, 0x80, 0x7f, 0x0f, 0xf0}) {
      TestWeight weight(random_, format, 16, 64);
      for (size_t i = 0; i < weight.storage.size(); ++i) {
        const size_t offset = static_cast<size_t>(weight.storage.data() + i - weight.packed.data);
        const size_t group_bytes = PanelBytes(format, 32);
        const size_t quants = format == WeightFormat::kQ8_0 ? 512 : 256;
        if (offset < 2 * group_bytes && offset % group_bytes < quants)
          weight.storage[i] = static_cast<std::byte>(byte);
      }
      TestRows rows(random_, 9, 64);
      for (float& x : rows.x) x = random_() % 2 == 0 ? -1.0f : 1.0f;
      for (size_t i = 0; i < 64 * 4; ++i) rows.x[i] = i < 128 ? 1.0f : -1.0f;
      for (int64_t r = 0; r < rows.rows; ++r)
        reference_->quantize_row(rows.x.data() + r * 64, 64, r, rows.Quantized());
      ExpectSame(format, weight, rows, {0, 16, 0, 64, 1});
    }
  }
}

PHX_FOR_EACH_KERNEL_TABLE(MatMul);

}  // namespace
}  // namespace phalanx
