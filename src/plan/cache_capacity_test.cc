#include "plan/cache_capacity.h"

#include <gtest/gtest.h>

namespace phalanx {
namespace {

CacheCapacityInput SomeInput() {
  CacheCapacityInput input;
  input.block_bytes = 1000;
  input.block_size = 16;
  input.num_ranks = 4;
  input.dp = 2;
  input.available_bytes = 1'000'000;
  input.memory_fraction = 0.5;
  input.weight_bytes = 100'000;
  input.max_batch_size = 200;
  input.max_seq_len = 100;
  return input;
}

TEST(CacheCapacityTest, WithoutABoundEveryRankTakesItsPartOfTheFractionAfterTheWeights) {
  const Result<CacheCapacity> capacity = ComputeCacheCapacity(SomeInput());
  ASSERT_TRUE(capacity.ok());
  EXPECT_EQ(capacity->blocks_per_group, 100);  // (500000 - 100000) / 4 / 1000
  EXPECT_FALSE(capacity->exceeds_memory);
}

TEST(CacheCapacityTest, ABoundIsTakenAsItIs) {
  CacheCapacityInput input = SomeInput();
  input.kv_bytes_per_rank = 50'999;
  EXPECT_EQ(ComputeCacheCapacity(input)->blocks_per_group, 50);
  input.kv_bytes_per_rank = 900'000;
  EXPECT_EQ(ComputeCacheCapacity(input)->blocks_per_group, 900);
  EXPECT_TRUE(ComputeCacheCapacity(input)->exceeds_memory);
}

TEST(CacheCapacityTest, NothingIsReservedThatNoBatchCouldUse) {
  CacheCapacityInput input = SomeInput();
  input.max_batch_size = 3;
  EXPECT_EQ(ComputeCacheCapacity(input)->blocks_per_group, 3 * 7);  // ceil(100 / 16) each
}

TEST(CacheCapacityTest, OneSequenceMustFit) {
  CacheCapacityInput input = SomeInput();
  input.kv_bytes_per_rank = 7'000;
  EXPECT_EQ(ComputeCacheCapacity(input)->blocks_per_group, 7);
  input.kv_bytes_per_rank = 6'999;
  const Status small = ComputeCacheCapacity(input).status();
  EXPECT_EQ(small.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(small.message().find("npuMemSize"), std::string::npos) << small.message();
  input.kv_bytes_per_rank = -1;
  input.weight_bytes = 2'000'000;
  EXPECT_NE(ComputeCacheCapacity(input).status().message().find("NPU_MEMORY_FRACTION"), std::string::npos);
}

TEST(CacheCapacityTest, HugeNumbersStayWithinBlockIds) {
  CacheCapacityInput input = SomeInput();
  input.block_bytes = 1;
  input.block_size = 1;
  input.dp = 8;
  input.kv_bytes_per_rank = int64_t{1} << 62;
  input.max_seq_len = int64_t{1} << 40;
  input.max_batch_size = int64_t{1} << 40;
  EXPECT_FALSE(ComputeCacheCapacity(input).ok());  // one such sequence has more blocks than there are ids
  input.max_seq_len = 1000;
  EXPECT_EQ(ComputeCacheCapacity(input)->blocks_per_group, INT32_MAX / 8);
}

}  // namespace
}  // namespace phalanx
