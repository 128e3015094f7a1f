#include "parallel/mesh.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace phalanx {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Groups = std::vector<std::vector<Rank>>;

// The domain's groups in order of their first rank.
Groups GroupsOf(const Mesh& mesh, ParallelDomain domain) {
  Groups groups;
  for (Rank rank = 0; rank < mesh.world_size(); ++rank) {
    if (mesh.GroupRank(domain, rank) == 0) groups.push_back(mesh.GroupMembers(domain, rank));
  }
  return groups;
}

ParallelLayout Layout(int dp, int cp, int tp, int sp, int moe_tp, int moe_ep) {
  return {.world_size = dp * cp * tp,
          .attn_tp = tp,
          .attn_dp = dp,
          .attn_cp = cp,
          .sp = sp,
          .moe_tp = moe_tp,
          .moe_ep = moe_ep};
}

TEST(Mesh, TwoDataParallelGroupsOfFour) {
  Mesh mesh(Layout(2, 1, 4, 1, 8, 1));
  EXPECT_THAT(GroupsOf(mesh, ParallelDomain::kAttnTp),
              ElementsAre(ElementsAre(0, 1, 2, 3), ElementsAre(4, 5, 6, 7)));
  EXPECT_THAT(GroupsOf(mesh, ParallelDomain::kAttnDp),
              ElementsAre(ElementsAre(0, 4), ElementsAre(1, 5), ElementsAre(2, 6), ElementsAre(3, 7)));
  EXPECT_THAT(mesh.DpGroupRanks(0), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(mesh.DpGroupRanks(1), ElementsAre(4, 5, 6, 7));
}

TEST(Mesh, EightDataParallelGroupsOfOne) {
  Mesh mesh(Layout(8, 1, 1, 1, 8, 1));
  EXPECT_EQ(GroupsOf(mesh, ParallelDomain::kAttnTp).size(), 8u);
  EXPECT_THAT(GroupsOf(mesh, ParallelDomain::kAttnDp), ElementsAre(ElementsAre(0, 1, 2, 3, 4, 5, 6, 7)));
  EXPECT_THAT(GroupsOf(mesh, ParallelDomain::kMoeTp), ElementsAre(ElementsAre(0, 1, 2, 3, 4, 5, 6, 7)));
}

TEST(Mesh, ExpertsAcrossDataParallelGroups) {
  Mesh mesh(Layout(2, 1, 8, 1, 4, 4));
  EXPECT_THAT(GroupsOf(mesh, ParallelDomain::kMoeTp),
              ElementsAre(ElementsAre(0, 1, 2, 3), ElementsAre(4, 5, 6, 7), ElementsAre(8, 9, 10, 11),
                          ElementsAre(12, 13, 14, 15)));
  EXPECT_THAT(GroupsOf(mesh, ParallelDomain::kMoeEp),
              ElementsAre(ElementsAre(0, 4, 8, 12), ElementsAre(1, 5, 9, 13), ElementsAre(2, 6, 10, 14),
                          ElementsAre(3, 7, 11, 15)));
}

TEST(Mesh, ContextParallel) {
  Mesh mesh(Layout(1, 2, 8, 8, 1, 16));
  EXPECT_THAT(GroupsOf(mesh, ParallelDomain::kAttnSp),
              ElementsAre(ElementsAre(0, 1, 2, 3, 4, 5, 6, 7), ElementsAre(8, 9, 10, 11, 12, 13, 14, 15)));
  const Groups cp = GroupsOf(mesh, ParallelDomain::kAttnCp);
  ASSERT_EQ(cp.size(), 8u);
  EXPECT_THAT(cp[0], ElementsAre(0, 8));
  EXPECT_THAT(cp[1], ElementsAre(1, 9));
}

std::vector<Mesh> ManyMeshes() {
  std::vector<Mesh> meshes;
  for (int dp : {1, 2, 3, 8}) {
    for (int cp : {1, 2}) {
      for (int tp : {1, 2, 4, 8}) {
        const int world = dp * cp * tp;
        if (dp > 1 && cp > 1) continue;
        for (int moe_ep = 1; moe_ep <= world; ++moe_ep) {
          if (world % moe_ep == 0) meshes.emplace_back(Layout(dp, cp, tp, tp, world / moe_ep, moe_ep));
        }
      }
    }
  }
  return meshes;
}

TEST(Mesh, GroupsOfEveryDomainPartitionTheWorld) {
  for (const Mesh& mesh : ManyMeshes()) {
    for (ParallelDomain domain : kAllParallelDomains) {
      SCOPED_TRACE(mesh.ToString() + std::string(ParallelDomainName(domain)));
      std::multiset<Rank> all;
      for (const auto& group : GroupsOf(mesh, domain)) {
        EXPECT_EQ(static_cast<int>(group.size()), mesh.GroupSize(domain));
        EXPECT_TRUE(std::is_sorted(group.begin(), group.end()));
        all.insert(group.begin(), group.end());
        for (size_t i = 0; i < group.size(); ++i) {
          EXPECT_EQ(mesh.GroupRank(domain, group[i]), static_cast<int>(i));
          EXPECT_EQ(mesh.GroupMembers(domain, group[i]), group);
        }
      }
      EXPECT_EQ(static_cast<int>(all.size()), mesh.world_size());
      EXPECT_EQ(static_cast<int>(std::set<Rank>(all.begin(), all.end()).size()), mesh.world_size());
    }
  }
}

TEST(Mesh, CoordinatesAndRanksAreInverse) {
  for (const Mesh& mesh : ManyMeshes()) {
    std::set<Rank> seen;
    for (Rank rank = 0; rank < mesh.world_size(); ++rank) {
      const MeshCoordinates at = mesh.Coordinates(rank);
      EXPECT_EQ(mesh.RankAt(at.attn_dp, at.attn_cp, at.attn_tp), rank);
      EXPECT_EQ(at.moe_ep * mesh.layout().moe_tp + at.moe_tp, rank);
      EXPECT_EQ(at.attn_dp, mesh.GroupRank(ParallelDomain::kAttnDp, rank));
      EXPECT_EQ(at.attn_cp, mesh.GroupRank(ParallelDomain::kAttnCp, rank));
      EXPECT_EQ(at.attn_tp, mesh.GroupRank(ParallelDomain::kAttnTp, rank));
      EXPECT_EQ(at.sp, mesh.GroupRank(ParallelDomain::kAttnSp, rank));
      EXPECT_EQ(at.moe_ep, mesh.GroupRank(ParallelDomain::kMoeEp, rank));
      seen.insert(rank);
    }
    for (int group = 0; group < mesh.layout().attn_dp; ++group) {
      for (Rank rank : mesh.DpGroupRanks(group)) EXPECT_EQ(mesh.DpGroup(rank), group);
    }
    EXPECT_EQ(static_cast<int>(seen.size()), mesh.world_size());
  }
}

TEST(Mesh, PrintsRanksAndGroups) {
  const std::string text = Mesh(Layout(2, 1, 1, 1, 2, 1)).ToString();
  EXPECT_THAT(text, HasSubstr("worldSize 2 = dp 2 x tp 1, moe_tp 2\n"));
  EXPECT_THAT(text, HasSubstr("    1    1    0    0    0       1       0\n"));
  EXPECT_THAT(text, HasSubstr("attn_dp: {0,1}\n"));
}

}  // namespace
}  // namespace phalanx
