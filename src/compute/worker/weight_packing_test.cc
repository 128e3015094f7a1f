#include "compute/worker/weight_packing.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace phalanx {
namespace {

TEST(WeightPackingTest, TheSharesTogetherGiveTheWholeSegment) {
  const auto store = WeightStore::Open(PHX_SOURCE_DIR "/tests/golden/data/llama-f32/model");
  ASSERT_TRUE(store.ok()) << store.status().ToString();
  const size_t bytes = (*store)->packed_bytes();
  const auto pack = [&](int shares, int threads) {
    std::vector<std::byte> segment(bytes + 64);
    const size_t shift = (64 - reinterpret_cast<uintptr_t>(segment.data()) % 64) % 64;
    std::byte* const start = segment.data() + shift;
    ThreadTeam team(std::vector<int>(static_cast<size_t>(threads), -1));
    int tasks = 0;
    for (int share = 0; share < shares; ++share) {
      tasks += PackShare{share, shares}.NumTasks((*store)->num_tasks());
      EXPECT_TRUE(PackWeights(**store, {share, shares}, start, &team, [](int) {}).ok());
    }
    EXPECT_EQ(tasks, (*store)->num_tasks());
    return std::vector<std::byte>(start, start + bytes);
  };
  const std::vector<std::byte> whole = pack(1, 1);
  EXPECT_EQ(pack(3, 2), whole);
  EXPECT_EQ(pack((*store)->num_tasks() + 5, 1), whole);
}

}  // namespace
}  // namespace phalanx
