#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "compute/kernels/half.h"
#include "compute/kernels/kernel_table.h"

// What the tests of this folder share: random inputs, and one comparison of bits.
namespace phalanx {

inline std::vector<float> RandomFloats(std::mt19937& random, size_t count, float magnitude = 1.0f) {
  std::uniform_real_distribution<float> uniform(-magnitude, magnitude);
  std::vector<float> values(count);
  for (float& v : values) v = uniform(random);
  return values;
}

// Compares bits, so that signs of zero count, and names the first difference.
inline testing::AssertionResult SameBits(const float* expected, const float* actual, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (std::bit_cast<uint32_t>(expected[i]) != std::bit_cast<uint32_t>(actual[i])) {
      return testing::AssertionFailure()
             << "element " << i << ": expected " << expected[i] << ", got " << actual[i];
    }
  }
  return testing::AssertionSuccess();
}

inline testing::AssertionResult SameBits(const std::vector<float>& expected,
                                         const std::vector<float>& actual) {
  if (expected.size() != actual.size()) return testing::AssertionFailure() << "sizes differ";
  return SameBits(expected.data(), actual.data(), expected.size());
}

// A random weight: its checkpoint rows, the same values as doubles, and the packed form.
struct TestWeight {
  TestWeight(std::mt19937& random, WeightFormat format, int64_t n, int64_t k) {
    const size_t row_bytes = CheckpointRowBytes(format, k);
    checkpoint.resize(static_cast<size_t>(n) * row_bytes);
    values.resize(static_cast<size_t>(n * k));
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    for (int64_t row = 0; row < n; ++row) {
      std::byte* to = checkpoint.data() + static_cast<size_t>(row) * row_bytes;
      double* value = values.data() + row * k;
      for (int64_t i = 0; i < k; i += WeightGroup(format)) to = Fill(random, uniform, format, to, value + i);
    }
    storage.resize(PackedBytes(format, n, k) + 64);
    std::byte* data = storage.data() + (64 - reinterpret_cast<uintptr_t>(storage.data()) % 64) % 64;
    struct Rows {
      const std::byte* data;
      size_t bytes;
    } rows = {checkpoint.data(), row_bytes};
    PackPanels(
        format,
        [](const void* context, int64_t r) {
          const Rows& from = *static_cast<const Rows*>(context);
          return from.data + static_cast<size_t>(r) * from.bytes;
        },
        &rows, n, k, 0, (n + kPanelColumns - 1) / kPanelColumns, data);
    packed = {data, format, n, k};
  }

  std::vector<std::byte> checkpoint;
  std::vector<double> values;  // [n, k]
  std::vector<std::byte> storage;
  PackedMatrix packed;

 private:
  // Writes one group's checkpoint bytes and values; returns the end of the bytes.
  static std::byte* Fill(std::mt19937& random, std::uniform_real_distribution<float>& uniform,
                         WeightFormat format, std::byte* to, double* value) {
    const auto put_half = [&to](float v) {
      const uint16_t bits = FloatToHalf(v);
      std::memcpy(to, &bits, 2);
      to += 2;
      return static_cast<double>(HalfToFloat(bits));
    };
    const auto nibble = [](std::byte b, bool high) {
      return static_cast<int>(high ? b >> 4 : b & std::byte{15});
    };
    if (format == WeightFormat::kF32) {
      const float v = uniform(random);
      std::memcpy(to, &v, 4);
      value[0] = v;
      return to + 4;
    }
    if (format == WeightFormat::kF16) {
      value[0] = put_half(uniform(random));
      return to;
    }
    if (format == WeightFormat::kBF16) {
      const uint32_t bits = std::bit_cast<uint32_t>(uniform(random)) & 0xffff0000u;
      const uint16_t upper = static_cast<uint16_t>(bits >> 16);
      std::memcpy(to, &upper, 2);
      value[0] = std::bit_cast<float>(bits);
      return to + 2;
    }
    const double scale = put_half(uniform(random) * 0.01f);
    const double min = format == WeightFormat::kQ4_1 ? put_half(uniform(random) * 0.1f) : 0.0;
    const int bytes = format == WeightFormat::kQ8_0 ? 32 : 16;
    for (int i = 0; i < bytes; ++i) {
      to[i] = static_cast<std::byte>(random() & 255);
      if (format == WeightFormat::kQ8_0) {
        value[i] = scale * static_cast<int8_t>(to[i]);
      } else {
        const int offset = format == WeightFormat::kQ4_0 ? 8 : 0;
        value[i] = scale * (nibble(to[i], false) - offset) + min;
        value[i + 16] = scale * (nibble(to[i], true) - offset) + min;
      }
    }
    return to + bytes;
  }
};

// A test that runs once per kernel table of this build except the reference, its oracle; it is skipped, by name, where this CPU lacks the
// table.
class EachKernelTable : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const Result<const KernelTable*> table = SelectKernels(GetParam());
    if (!table.ok()) GTEST_SKIP() << table.status().message();
    table_ = table.value();
    ASSERT_EQ(table_->name, GetParam());
    reference_ = SelectKernels("reference").value();
  }

  const KernelTable* table_ = nullptr;
  const KernelTable* reference_ = nullptr;
  std::mt19937 random_{17};
};

inline std::vector<std::string> TableNamesForTests() {
  std::vector<std::string> names;
  for (const std::string_view name : KernelTableNames()) {
    if (name != "reference") names.emplace_back(name);
  }
  return names;
}

#define PHX_FOR_EACH_KERNEL_TABLE(suite)                                           \
  GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(suite);                            \
  INSTANTIATE_TEST_SUITE_P(Tables, suite, testing::ValuesIn(TableNamesForTests()), \
                           [](const testing::TestParamInfo<std::string>& i) { return i.param; })

inline constexpr WeightFormat kAllWeightFormats[] = {WeightFormat::kF32,  WeightFormat::kF16,
                                                     WeightFormat::kBF16, WeightFormat::kQ8_0,
                                                     WeightFormat::kQ4_0, WeightFormat::kQ4_1};

}  // namespace phalanx
