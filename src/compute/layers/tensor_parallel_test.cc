#include "compute/layers/tensor_parallel.h"

#include <gtest/gtest.h>

namespace phalanx {
namespace {

ModelConfig Config(int32_t heads, int32_t kv_heads, int output_segments, int down_segments) {
  ModelConfig config;
  config.num_heads = heads;
  config.num_kv_heads = kv_heads;
  config.head_dim = 64;
  config.intermediate_size = 1536;
  config.output_segments = output_segments;
  config.down_segments = down_segments;
  return config;
}

TEST(TensorParallel, ShardsCoverEveryHeadAndColumnOnce) {
  const ModelConfig config = Config(16, 4, 8, 8);
  for (int tp : {1, 2, 4, 8}) {
    ASSERT_TRUE(CheckTensorParallel(config, tp).ok()) << tp;
    int64_t next_head = 0, next_column = 0;
    for (int rank = 0; rank < tp; ++rank) {
      const TensorParallelShard shard = ShardOf(config, tp, rank);
      EXPECT_EQ(shard.heads.begin, next_head);
      EXPECT_EQ(shard.intermediate.begin, next_column);
      next_head = shard.heads.end;
      next_column = shard.intermediate.end;
      // Every query head of the rank finds its key/value head there.
      EXPECT_EQ(shard.heads.begin / 4, shard.kv_heads.begin);
      EXPECT_EQ((shard.heads.end - 1) / 4, shard.kv_heads.end - 1);
    }
    EXPECT_EQ(next_head, 16);
    EXPECT_EQ(next_column, 1536);
  }
}

TEST(TensorParallel, NineHeadsStayOnOneRank) {
  const ModelConfig config = Config(9, 3, 1, 8);
  EXPECT_TRUE(CheckTensorParallel(config, 1).ok());
  for (int tp : {0, 2, 3, 4, 8, 9}) {
    const Status status = CheckTensorParallel(config, tp);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << tp;
    EXPECT_NE(status.message().find("9 attention heads"), std::string::npos) << status.message();
  }
}

TEST(TensorParallel, KeyValueHeadsThatFitNeitherWay) {
  // 24 query heads in 3 groups: half of them would need one and a half key/value heads.
  EXPECT_FALSE(CheckTensorParallel(Config(24, 3, 8, 8), 2).ok());
  EXPECT_TRUE(CheckTensorParallel(Config(24, 6, 8, 8), 2).ok());
}

}  // namespace
}  // namespace phalanx
