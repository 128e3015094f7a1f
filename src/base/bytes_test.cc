#include "base/bytes.h"

#include <gtest/gtest.h>

#include <array>

namespace phalanx {
namespace {

TEST(BytesTest, RoundTrip) {
  std::array<std::byte, 64> buffer{};
  ByteWriter writer(buffer);
  writer.Put<uint8_t>(7);
  writer.Put<int64_t>(-5);
  writer.PutVector(std::vector<int32_t>{1, 2, 3});
  writer.PutVector(std::vector<int32_t>{});
  ASSERT_TRUE(writer.ok());
  ByteReader reader({buffer.data(), writer.size()});
  EXPECT_EQ(reader.Get<uint8_t>(), 7);
  EXPECT_EQ(reader.Get<int64_t>(), -5);
  std::vector<int32_t> values{9};
  reader.GetVector(&values);
  EXPECT_EQ(values, (std::vector<int32_t>{1, 2, 3}));
  reader.GetVector(&values);
  EXPECT_TRUE(values.empty());
  EXPECT_TRUE(reader.ok());
  EXPECT_EQ(reader.remaining(), 0u);
}

TEST(BytesTest, NeitherEndLeavesItsMemory) {
  std::array<std::byte, 6> buffer{};
  ByteWriter writer(buffer);
  writer.Put<int32_t>(1);
  writer.Put<int32_t>(2);
  EXPECT_FALSE(writer.ok());
  EXPECT_EQ(writer.size(), 4u);
  ByteReader reader(buffer);
  reader.Get<int32_t>();
  EXPECT_EQ(reader.Get<int32_t>(), 0);
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.Get<uint8_t>(), 0);
}

TEST(BytesTest, ACountBeyondTheRestIsRefusedBeforeMemoryIsTaken) {
  const std::array<std::byte, 8> buffer = {std::byte{0xff}, std::byte{0xff}, std::byte{0xff},
                                           std::byte{0xff}};
  ByteReader reader(buffer);
  std::vector<int64_t> values;
  reader.GetVector(&values);
  EXPECT_TRUE(values.empty());
  EXPECT_FALSE(reader.ok());
}

}  // namespace
}  // namespace phalanx
