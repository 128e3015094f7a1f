#include "serve/schedule/placement.h"

#include <gtest/gtest.h>

#include <array>

namespace phalanx {
namespace {

PlacementContext Context(int64_t num_tokens, int32_t num_groups) {
  PlacementContext context;
  context.num_tokens = num_tokens;
  context.max_step_tokens = 1000;
  context.prefill_chunk_tokens = 100;
  context.num_groups = num_groups;
  return context;
}

TEST(Placement, NamesGoBothWays) {
  for (const char* name : {"first_token", "round_robin", "shortest_queue", "fewest_used_blocks"}) {
    const auto policy = FindPlacementPolicy(name);
    ASSERT_TRUE(policy.has_value()) << name;
    EXPECT_EQ(PlacementPolicyName(*policy), name);
  }
  EXPECT_FALSE(FindPlacementPolicy("random").has_value());
}

TEST(Placement, FirstTokenWeighsPromptsAheadAgainstDecodes) {
  std::array<GroupLoad, 3> groups;
  for (int32_t g = 0; g < 3; ++g) groups[g].group = g;
  EXPECT_EQ(ChooseGroup(PlacementPolicy::kFirstToken, Context(50, 3), groups), 0);
  groups[0].backlog_tokens = 300;
  groups[1].num_sequences = groups[1].num_decoding = 8;
  groups[2].backlog_tokens = 290;
  EXPECT_EQ(ChooseGroup(PlacementPolicy::kFirstToken, Context(50, 3), groups), 1)
      << "one small step beside eight decodes is done before 290 prompt tokens";
  // A long prompt is cut into ten chunks beside decodes, each with 100 rows of them.
  groups[1].num_decoding = 100;
  EXPECT_EQ(ChooseGroup(PlacementPolicy::kFirstToken, Context(1000, 3), groups), 2);
  groups[2].in_flight_tokens = 20;
  EXPECT_EQ(ChooseGroup(PlacementPolicy::kFirstToken, Context(1000, 3), groups), 0);
}

TEST(Placement, TiesGoToTheGroupWithMoreFreeBlocks) {
  std::array<GroupLoad, 2> groups;
  groups[1].group = 1;
  groups[0].used_blocks = 5;
  groups[1].used_blocks = 4;
  EXPECT_EQ(ChooseGroup(PlacementPolicy::kFirstToken, Context(1, 2), groups), 1);
}

TEST(Placement, OtherPolicies) {
  std::array<GroupLoad, 3> groups;
  for (int32_t g = 0; g < 3; ++g) groups[g].group = g;
  groups[0].num_sequences = 3, groups[1].num_sequences = 2, groups[2].num_sequences = 4;
  groups[0].used_blocks = 9, groups[1].used_blocks = 8, groups[2].used_blocks = 7;
  PlacementContext context = Context(1, 3);
  EXPECT_EQ(ChooseGroup(PlacementPolicy::kShortestQueue, context, groups), 1);
  EXPECT_EQ(ChooseGroup(PlacementPolicy::kFewestUsedBlocks, context, groups), 2);
  for (int32_t expected : {0, 1, 2, 0, 1}) {
    context.last_group = ChooseGroup(PlacementPolicy::kRoundRobin, context, groups);
    EXPECT_EQ(context.last_group, expected);
  }
}

}  // namespace
}  // namespace phalanx
