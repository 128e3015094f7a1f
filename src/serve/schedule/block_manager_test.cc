#include "serve/schedule/block_manager.h"

#include <gtest/gtest.h>

namespace phalanx {
namespace {

TEST(BlockManager, KeepsEachGroupWithinItsShare) {
  BlockManager blocks(6, 2, 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(blocks.Allocate(0), i);
  EXPECT_EQ(blocks.NumFree(0), 0);
  EXPECT_EQ(blocks.NumFree(1), 3);
  for (int i = 3; i < 6; ++i) EXPECT_EQ(blocks.Allocate(1), i);
  EXPECT_EQ(blocks.NumUsed(1), 3);
}

TEST(BlockManager, ASharedBlockIsFreeWithItsLastOwner) {
  BlockManager blocks(2, 1, 2);
  const int32_t block = blocks.Allocate(0);
  blocks.AddReference(block);
  blocks.Free(block, 0, 0);
  EXPECT_EQ(blocks.NumReferences(block), 1);
  EXPECT_EQ(blocks.NumFree(0), 1);
  blocks.Free(block, 0, 0);
  EXPECT_EQ(blocks.NumFree(0), 2);
}

TEST(BlockManager, ABlockOfAStepUnderWayStaysInItsGroup) {
  BlockManager blocks(4, 2, 2);
  const int32_t a = blocks.Allocate(0);
  const int32_t b = blocks.Allocate(0);
  blocks.Free(a, /*last_step=*/7, /*returned_step=*/5);
  blocks.Free(b, 7, 5);
  // The same group may have it back at once, another one gets others.
  EXPECT_EQ(blocks.Allocate(0), b);
  const int32_t c = blocks.Allocate(1);
  const int32_t d = blocks.Allocate(1);
  EXPECT_NE(c, a);
  EXPECT_NE(d, a);
  blocks.Free(c, 0, 0);
  blocks.StepReturned(0, 6);
  EXPECT_EQ(blocks.Allocate(1), c);
  blocks.Free(c, 0, 0);
  blocks.StepReturned(0, 7);
  EXPECT_EQ(blocks.Allocate(1), a) << "the step that used it has returned";
}

TEST(BlockManager, ReleasedBlocksOfOthersNeverKeepAGroupFromItsShare) {
  BlockManager blocks(4, 2, 2);
  for (StepId step = 1; step < 20; ++step) {
    const int32_t a = blocks.Allocate(0), b = blocks.Allocate(0);
    const int32_t c = blocks.Allocate(1), d = blocks.Allocate(1);
    blocks.Free(a, step, step - 1);
    blocks.Free(c, step, step - 1);
    blocks.Free(b, step, step - 1);
    blocks.Free(d, step, step - 1);
    if (step % 3 == 0) blocks.StepReturned(step % 2, step);
  }
}

}  // namespace
}  // namespace phalanx
