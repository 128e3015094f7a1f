#include <algorithm>
#include <cmath>
#include <limits>

#include "compute/kernels/kernel_test_support.h"

namespace phalanx {
namespace {

struct Shape {
  int block_size, head_dim, heads, rows;
  int64_t first_position, window;
  KvFormat format;

  int64_t tokens() const { return first_position + rows; }
  int num_blocks() const { return static_cast<int>((tokens() + block_size - 1) / block_size); }
};

void PrintTo(const Shape& s, std::ostream* out) {
  *out << "block " << s.block_size << " dim " << s.head_dim << " heads " << s.heads << " rows " << s.rows
       << " at " << s.first_position << " window " << s.window << " format " << static_cast<int>(s.format);
}

// A sequence whose blocks lie in reverse order among the pages. Whatever no token was written to is NaN, so that a
// kernel that uses it is found out.
struct TestSequence {
  TestSequence(std::mt19937& random, const KernelTable& kernels, const Shape& s) : shape(s) {
    const size_t head = KvPageHeadElements(s.block_size, s.head_dim) * KvBytes(s.format);
    stride = static_cast<int64_t>((head + 64 + 63) / 64 * 64);
    pages.assign(static_cast<size_t>(stride) * static_cast<size_t>(s.num_blocks()), std::byte{0xff});
    for (int b = 0; b < s.num_blocks(); ++b) table.push_back(s.num_blocks() - 1 - b);
    const size_t dim = static_cast<size_t>(s.head_dim);
    keys = RandomFloats(random, static_cast<size_t>(s.tokens()) * dim, 2.0f);
    values = RandomFloats(random, static_cast<size_t>(s.tokens()) * dim);
    q = RandomFloats(random, static_cast<size_t>(s.rows * s.heads) * dim, 2.0f);
    for (int64_t p = 0; p < s.tokens(); ++p) {
      StoreKvArgs store;
      store.key = keys.data() + p * s.head_dim;
      store.value = values.data() + p * s.head_dim;
      store.page_head = pages.data() + table[static_cast<size_t>(p / s.block_size)] * stride;
      store.format = s.format;
      store.slot_in_block = static_cast<int>(p % s.block_size);
      store.block_size = s.block_size;
      store.head_dim = s.head_dim;
      kernels.store_kv(store);
    }
  }

  // Rows [row, row + rows) alone.
  std::vector<float> Run(const KernelTable& kernels, int row, int rows) const {
    const int64_t width = static_cast<int64_t>(shape.heads) * shape.head_dim;
    std::vector<float> out(static_cast<size_t>(rows * width + 1), -77.0f);
    std::vector<float> scratch(AttentionScratchFloats(shape.block_size, shape.head_dim, shape.heads) + 1,
                               -55.0f);
    AttentionArgs args;
    args.q = q.data() + row * width;
    args.q_stride = width;
    args.out = out.data();
    args.out_stride = width;
    args.rows = rows;
    args.heads = shape.heads;
    args.head_dim = shape.head_dim;
    args.first_position = shape.first_position + row;
    args.window = shape.window;
    args.scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
    args.format = shape.format;
    args.block_size = shape.block_size;
    args.block_table = table.data();
    args.pages = pages.data();
    args.page_stride = stride;
    args.scratch = scratch.data();
    kernels.attention(args);
    EXPECT_EQ(out.back(), -77.0f);
    EXPECT_EQ(scratch.back(), -55.0f);
    out.pop_back();
    return out;
  }

  Shape shape;
  int64_t stride;
  std::vector<std::byte> pages;
  std::vector<int32_t> table;
  std::vector<float> keys, values, q;
};

double Stored(float value, KvFormat format) {
  return format == KvFormat::kF32 ? value : HalfToFloat(FloatToHalfSaturated(value));
}

// Softmax weights are at most 1 and sum to 1; their relative error is that of the scores' absolute error (head_dim
// roundings of terms up to 4, with the scale) and of Exp.
TEST(AttentionReference, IsCloseToExactArithmetic) {
  std::mt19937 random(6);
  const KernelTable& reference = *SelectKernels("reference").value();
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kF16}) {
    for (const int64_t window : {0, 9}) {
      const Shape s = {16, 24, 3, 7, 40, window, format};
      const TestSequence sequence(random, reference, s);
      const std::vector<float> got = sequence.Run(reference, 0, s.rows);
      for (int r = 0; r < s.rows; ++r) {
        const int64_t end = s.first_position + r + 1;
        const int64_t begin = window > 0 ? std::max<int64_t>(0, end - window) : 0;
        for (int h = 0; h < s.heads; ++h) {
          const float* q = sequence.q.data() + (r * s.heads + h) * s.head_dim;
          std::vector<double> scores;
          for (int64_t p = begin; p < end; ++p) {
            double dot = 0;
            for (int d = 0; d < s.head_dim; ++d)
              dot += q[d] * Stored(sequence.keys[p * s.head_dim + d], format);
            scores.push_back(dot / std::sqrt(static_cast<double>(s.head_dim)));
          }
          const double max = *std::max_element(scores.begin(), scores.end());
          double sum = 0;
          for (double& score : scores) sum += score = std::exp(score - max);
          const double tolerance = 0x1p-23 * (4.0 * s.head_dim * std::sqrt(s.head_dim) + 3.0 * s.tokens());
          for (int d = 0; d < s.head_dim; ++d) {
            double exact = 0;
            for (int64_t p = begin; p < end; ++p) {
              exact += scores[p - begin] / sum * Stored(sequence.values[p * s.head_dim + d], format);
            }
            ASSERT_NEAR(got[(r * s.heads + h) * s.head_dim + d], exact, tolerance);
          }
        }
      }
    }
  }
}

class Attention : public EachKernelTable {
 protected:
  void ExpectSame(const Shape& shape) {
    const TestSequence sequence(random_, *table_, shape);
    const std::vector<float> expected = sequence.Run(*reference_, 0, shape.rows);
    ASSERT_TRUE(SameBits(expected, sequence.Run(*table_, 0, shape.rows))) << testing::PrintToString(shape);
    ASSERT_FALSE(std::any_of(expected.begin(), expected.end(), [](float v) { return std::isnan(v); }));
  }
};

TEST_P(Attention, ShapesEqualTheReference) {
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kF16}) {
    for (const int head_dim : {8, 16, 24, 64, 80, 128}) {
      for (const int block_size : {1, 5, 16, 128}) {
        for (const int64_t window : {0, 1, 6, 40}) {
          ExpectSame({block_size, head_dim, 3, 1, 50, window, format});
          ExpectSame({block_size, head_dim, 1, 18, 0, window, format});
          ExpectSame({block_size, head_dim, 2, 5, 126, window, format});
        }
      }
    }
  }
}

TEST_P(Attention, EveryNumberOfRowsAndHeadsEqualsTheReference) {
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kF16}) {
    for (int rows = 1; rows <= 40; ++rows) ExpectSame({16, 24, 3, rows, 61, 0, format});
    for (int heads = 1; heads <= 17; ++heads) ExpectSame({32, 64, heads, 2, 100, 0, format});
    ExpectSame({128, 64, 4, 33, 300, 100, format});
  }
}

TEST_P(Attention, OneRowAloneEqualsTheRowAmongMany) {
  const Shape shape = {16, 64, 3, 37, 20, 0, KvFormat::kF16};
  const TestSequence sequence(random_, *table_, shape);
  const std::vector<float> together = sequence.Run(*table_, 0, shape.rows);
  const size_t width = static_cast<size_t>(shape.heads * shape.head_dim);
  for (int r = 0; r < shape.rows; ++r) {
    const std::vector<float> alone = sequence.Run(*table_, r, 1);
    EXPECT_TRUE(SameBits(alone.data(), together.data() + static_cast<size_t>(r) * width, width)) << r;
  }
}

TEST_P(Attention, StoredKeysAndValuesEqualTheReference) {
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kF16}) {
    for (const int head_dim : {8, 24, 64}) {
      const int block_size = 20;
      const size_t bytes = KvPageHeadElements(block_size, head_dim) * KvBytes(format);
      std::vector<float> key = RandomFloats(random_, static_cast<size_t>(head_dim), 3.0f);
      std::vector<float> value = RandomFloats(random_, static_cast<size_t>(head_dim), 1e-6f);
      key[0] = 1e9f;
      key[1] = -std::numeric_limits<float>::infinity();
      value[2] = 65519.0f;
      std::vector<std::byte> expected(bytes + 4, std::byte{7});
      std::vector<std::byte> got = expected;
      for (const int slot : {0, 15, 16, 19}) {
        StoreKvArgs args = {key.data(), value.data(), expected.data(), format, slot, block_size, head_dim};
        reference_->store_kv(args);
        args.page_head = got.data();
        table_->store_kv(args);
        EXPECT_EQ(expected, got) << slot;
      }
    }
  }
}

PHX_FOR_EACH_KERNEL_TABLE(Attention);

}  // namespace
}  // namespace phalanx
