#include "compute/kernels/packed_matrix.h"

#include "compute/kernels/kernel_test_support.h"

namespace phalanx {
namespace {

TEST(PackedMatrix, SizesFollowTheFormats) {
  EXPECT_EQ(WeightFormatName(WeightFormat::kF32), "F32");
  EXPECT_EQ(WeightFormatName(WeightFormat::kQ4_1), "Q4_1");
  EXPECT_EQ(WeightGroup(WeightFormat::kBF16), 1);
  EXPECT_EQ(WeightGroup(WeightFormat::kQ8_0), 32);
  EXPECT_EQ(CheckpointRowBytes(WeightFormat::kF32, 5), 20u);
  EXPECT_EQ(CheckpointRowBytes(WeightFormat::kF16, 5), 10u);
  EXPECT_EQ(CheckpointRowBytes(WeightFormat::kQ8_0, 64), 68u);
  EXPECT_EQ(CheckpointRowBytes(WeightFormat::kQ4_0, 64), 36u);
  EXPECT_EQ(CheckpointRowBytes(WeightFormat::kQ4_1, 64), 40u);
  EXPECT_EQ(PanelBytes(WeightFormat::kF32, 3), 192u);
  EXPECT_EQ(PanelBytes(WeightFormat::kBF16, 3), 96u);
  EXPECT_EQ(PanelBytes(WeightFormat::kQ8_0, 32), 544u);
  EXPECT_EQ(PanelBytes(WeightFormat::kQ4_0, 32), 288u);
  EXPECT_EQ(PanelBytes(WeightFormat::kQ4_1, 64), 640u);
  EXPECT_EQ(PackedBytes(WeightFormat::kQ4_1, 17, 64), 1280u);
}

TEST(PackedMatrix, UnpacksToTheValuesOfTheCheckpoint) {
  std::mt19937 random(1);
  const KernelTable* kernels = SelectKernels("reference").value();
  for (const WeightFormat format : kAllWeightFormats) {
    const int64_t n = 37;
    const int64_t k = 96;
    const TestWeight weight(random, format, n, k);
    std::vector<float> row(k);
    for (int64_t c = 0; c < n; ++c) {
      kernels->unpack_row(weight.packed, c, row.data());
      for (int64_t i = 0; i < k; ++i) {
        ASSERT_EQ(row[i], static_cast<float>(weight.values[c * k + i]))
            << WeightFormatName(format) << " " << c << " " << i;
      }
    }
  }
}

TEST(PackedMatrix, PanelsPackedApartEqualTheWhole) {
  std::mt19937 random(2);
  for (const WeightFormat format : kAllWeightFormats) {
    const int64_t n = 50;
    const int64_t k = 64;
    const TestWeight weight(random, format, n, k);
    std::vector<std::byte> apart(PackedBytes(format, n, k), std::byte{0x5a});
    struct Rows {
      const TestWeight* weight;
      size_t bytes;
    } rows = {&weight, CheckpointRowBytes(format, k)};
    for (const int64_t panel : {2, 0, 3, 1}) {
      PackPanels(
          format,
          [](const void* context, int64_t r) {
            const Rows& from = *static_cast<const Rows*>(context);
            return static_cast<const std::byte*>(from.weight->checkpoint.data()) +
                   static_cast<size_t>(r) * from.bytes;
          },
          &rows, n, k, panel, panel + 1, apart.data());
    }
    EXPECT_EQ(std::memcmp(apart.data(), weight.packed.data, apart.size()), 0) << WeightFormatName(format);
  }
}

}  // namespace
}  // namespace phalanx
