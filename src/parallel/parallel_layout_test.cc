#include "parallel/parallel_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace phalanx {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kAbsent = -1;

ModelInstanceConfig Model(int world, int tp, int dp, int cp, int sp, int moe_tp, int moe_ep) {
  ModelInstanceConfig model;
  model.world_size = world;
  model.tp = tp;
  model.dp = dp;
  model.cp = cp;
  model.sp = sp;
  model.moe_tp = moe_tp;
  model.moe_ep = moe_ep;
  return model;
}

struct Case {
  int world, tp, dp, cp, sp, moe_tp, moe_ep;
  // "ok", or text that the error must hold: every reason, separated by '|'.
  const char* expected;
  // attn_tp, attn_dp, attn_cp, sp, moe_tp, moe_ep of an "ok".
  std::vector<int> sizes = {};
};

constexpr int k = kAbsent;
constexpr char kCpLater[] = "cp: found 2, which this version can't do";
constexpr char kSpLater[] = "sp: found 8, which this version can't do";

// The first twelve are the table of the parallel semantics, in its order.
const Case kCases[] = {
    {8, k, k, k, k, k, k, "ok", {8, 1, 1, 1, 8, 1}},
    {8, 4, 2, 1, 1, k, k, "ok", {4, 2, 1, 1, 8, 1}},
    {8, 1, 8, 1, 1, k, k, "ok", {1, 8, 1, 1, 8, 1}},
    {8, 1, 8, 1, 1, 8, 1, "ok", {1, 8, 1, 1, 8, 1}},
    {8, 1, 8, 1, 1, 1, 8, "ok", {1, 8, 1, 1, 1, 8}},
    {16, 8, 2, 1, 8, 4, 4, kSpLater},
    {16, 8, 1, 2, 8, 1, 16,
     "cp: found 2, which this version can't do|sp: found 8, which this version can't do"},
    {16, 8, 2, 2, 8, k, k, "dp, cp: found dp 2 and cp 2"},
    {16, 8, 1, 2, 1, k, k, "cp, sp: found cp 2 with sp 1"},
    {16, 8, 2, 1, 4, k, k, "sp: found 4; allowed: 1 or the value of tp, 8"},
    {8, 2, 2, 1, 1, k, k, "tp, dp, cp: found tp 2 x dp 2 x cp 1 = 4; allowed: a product of worldSize 8"},
    {8, 8, 1, 1, 1, 2, 2, "moe_tp, moe_ep: found moe_tp 2 x moe_ep 2 = 4; allowed: a product of worldSize 8"},

    // One rank.
    {1, k, k, k, k, k, k, "ok", {1, 1, 1, 1, 1, 1}},
    {1, 1, 1, 1, 1, 1, 1, "ok", {1, 1, 1, 1, 1, 1}},
    {1, 2, k, k, k, k, k, "tp 2 x dp 1 x cp 1 = 2"},
    {1, k, 2, k, k, k, k, "tp 1 x dp 2 x cp 1 = 2"},
    // -1 counts as off everywhere.
    {4, -1, -1, -1, -1, -1, -1, "ok", {4, 1, 1, 1, 4, 1}},
    {4, 4, -1, -1, -1, -1, -1, "ok", {4, 1, 1, 1, 4, 1}},
    // tp is derived from dp.
    {2, k, 2, k, k, k, k, "ok", {1, 2, 1, 1, 2, 1}},
    {4, k, 2, k, k, k, k, "ok", {2, 2, 1, 1, 4, 1}},
    {4, k, 4, k, k, k, k, "ok", {1, 4, 1, 1, 4, 1}},
    {8, k, 2, 1, 1, k, k, "ok", {4, 2, 1, 1, 8, 1}},
    {8, k, 8, k, k, k, k, "ok", {1, 8, 1, 1, 8, 1}},
    {6, k, 3, k, k, k, k, "ok", {2, 3, 1, 1, 6, 1}},
    {8, k, 3, k, k, k, k, "tp 1 x dp 3 x cp 1 = 3; allowed: a product of worldSize 8"},
    {8, k, 16, k, k, k, k, "tp 1 x dp 16 x cp 1 = 16"},
    // tp without dp must be the whole world.
    {8, 4, k, k, k, k, k, "tp 4 x dp 1 x cp 1 = 4"},
    {8, 8, k, k, k, k, k, "ok", {8, 1, 1, 1, 8, 1}},
    // Experts.
    {8, 1, 8, k, k, k, 8, "ok", {1, 8, 1, 1, 1, 8}},
    {8, 1, 8, k, k, k, 2, "ok", {1, 8, 1, 1, 4, 2}},
    {8, 2, 4, k, k, 4, 2, "ok", {2, 4, 1, 1, 4, 2}},
    {8, 2, 4, k, k, 2, 4, "ok", {2, 4, 1, 1, 2, 4}},
    {8, 2, 4, k, k, 2, k, "moe_tp 2 x moe_ep 1 = 2"},
    {8, 2, 4, k, k, k, 3, "moe_tp 1 x moe_ep 3 = 3"},
    {16, 8, 2, 1, 1, 4, 4, "ok", {8, 2, 1, 1, 4, 4}},
    // Context and sequence parallelism: valid ones come later, invalid ones say why.
    {2, 1, 1, 2, 1, k, k, kCpLater},
    {4, k, k, 2, 2, k, k, "cp: found 2, which this version can't do|sp: found 2, which"},
    {8, 8, 1, 1, 8, k, k, kSpLater},
    {4, 2, 2, 1, 2, k, k, "sp: found 2, which this version can't do"},
    {8, 4, 2, 1, 8, k, k, "sp: found 8; allowed: 1 or the value of tp, 4"},
    {8, 1, 2, 2, 2, k, k,
     "dp, cp: found|tp 1 x dp 2 x cp 2 = 4|sp: found 2; allowed: 1 or the value of tp, 1"},
    {4, 2, 1, 2, 1, k, k, "cp above 1 only with sp = tp, 2"},
    // Sizes that are no sizes.
    {0, k, k, k, k, k, k, "worldSize: found 0; allowed: 1 to 4096"},
    {-4, k, k, k, k, k, k, "worldSize: found -4"},
    {8, 0, 0, 0, 0, 0, 0, "tp: found 0|dp: found 0|cp: found 0|sp: found 0|moe_tp: found 0|moe_ep: found 0"},
    {8, -2, k, k, k, k, k, "tp: found -2; allowed: -1 (off) or 1 to 4096"},
    {8, 2147483647, 2147483647, 2147483647, k, k, k, "tp: found 2147483647|dp: found 2147483647"},
    {100000, k, k, k, k, k, k, "worldSize: found 100000"},
    // Everything wrong at once is told at once.
    {8, 3, 2, 1, 2, 5, 5, "tp 3 x dp 2 x cp 1 = 6|sp: found 2|moe_tp 5 x moe_ep 5 = 25"},
};

std::vector<int> SizesOf(const ParallelLayout& layout) {
  return {layout.attn_tp, layout.attn_dp, layout.attn_cp, layout.sp, layout.moe_tp, layout.moe_ep};
}

std::vector<std::string> Reasons(const std::string& expected) {
  std::vector<std::string> reasons;
  for (size_t start = 0; start <= expected.size();) {
    size_t end = std::min(expected.find('|', start), expected.size());
    reasons.push_back(expected.substr(start, end - start));
    start = end + 1;
  }
  return reasons;
}

TEST(ParallelLayout, FollowsTheTable) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(testing::Message() << "W " << c.world << " tp " << c.tp << " dp " << c.dp << " cp " << c.cp
                                    << " sp " << c.sp << " moe_tp " << c.moe_tp << " moe_ep " << c.moe_ep);
    auto layout = ParallelLayout::Create(Model(c.world, c.tp, c.dp, c.cp, c.sp, c.moe_tp, c.moe_ep));
    if (std::string(c.expected) == "ok") {
      ASSERT_TRUE(layout.ok()) << layout.status().message();
      EXPECT_EQ(SizesOf(*layout), c.sizes);
      EXPECT_EQ(layout->world_size, c.world);
      continue;
    }
    ASSERT_FALSE(layout.ok()) << layout->ToString();
    for (const std::string& reason : Reasons(c.expected))
      EXPECT_THAT(layout.status().message(), HasSubstr(reason));
    bool later = std::string(c.expected).find("this version can't do") != std::string::npos;
    EXPECT_EQ(layout.status().code(), later ? StatusCode::kUnimplemented : StatusCode::kInvalidArgument);
  }
}

// Every combination of small sizes: what Create accepts are exactly the combinations that the rules allow.
TEST(ParallelLayout, AcceptsExactlyTheValidCombinations) {
  const int sizes[] = {kAbsent, 1, 2, 4, 8};
  for (int tp : sizes) {
    for (int dp : sizes) {
      for (int moe_tp : sizes) {
        for (int moe_ep : sizes) {
          const int world = 8;
          const int wanted_dp = dp == kAbsent ? 1 : dp;
          const int wanted_tp = tp == kAbsent ? world / wanted_dp : tp;
          const int wanted_ep = moe_ep == kAbsent ? 1 : moe_ep;
          const int wanted_moe_tp = moe_tp == kAbsent ? world / wanted_ep : moe_tp;
          const bool valid = wanted_tp * wanted_dp == world && wanted_moe_tp * wanted_ep == world;
          auto layout = ParallelLayout::Create(Model(world, tp, dp, kAbsent, kAbsent, moe_tp, moe_ep));
          EXPECT_EQ(layout.ok(), valid) << tp << " " << dp << " " << moe_tp << " " << moe_ep;
        }
      }
    }
  }
}

TEST(ParallelLayout, PrintsItsSizes) {
  auto layout = ParallelLayout::Create(Model(8, 4, 2, 1, 1, 4, 2));
  ASSERT_TRUE(layout.ok());
  EXPECT_EQ(layout->ToString(), "worldSize 8 = dp 2 x tp 4, moe_tp 4 x moe_ep 2");
}

TEST(CheckHeads, HeadsAreSharedOutEvenly) {
  ParallelLayout layout{.world_size = 4, .attn_tp = 4, .moe_tp = 4};
  EXPECT_TRUE(CheckHeads(layout, 32, 8).ok());
  EXPECT_TRUE(CheckHeads(layout, 32, 4).ok());
  EXPECT_TRUE(CheckHeads(layout, 32, 2).ok());  // replicated
  EXPECT_TRUE(CheckHeads(layout, 4, 1).ok());
  EXPECT_THAT(CheckHeads(layout, 9, 3).message(),
              AllOf(HasSubstr("tp: found 4"), HasSubstr("9 attention heads")));
  EXPECT_THAT(CheckHeads(layout, 12, 3).message(), HasSubstr("3 key/value heads"));
}

}  // namespace
}  // namespace phalanx
