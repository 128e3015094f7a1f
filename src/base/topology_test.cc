#include "base/topology.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace phalanx {
namespace {

MachineTopology Machine(std::vector<int> cores_per_node) {
  MachineTopology machine;
  int cpu = 0;
  for (size_t node = 0; node < cores_per_node.size(); ++node) {
    for (int i = 0; i < cores_per_node[node]; ++i) machine.cores.push_back({cpu++, static_cast<int>(node)});
  }
  machine.num_numa_nodes = static_cast<int>(cores_per_node.size());
  return machine;
}

TEST(TopologyTest, ReadsThisMachine) {
  const Result<MachineTopology> machine = ReadTopology();
  ASSERT_TRUE(machine.ok()) << machine.status().ToString();
  const std::vector<int> allowed = AffinityOfThisThread();
  EXPECT_LE(machine->cores.size(), allowed.size());
  for (const CpuCore& core : machine->cores) {
    EXPECT_NE(std::find(allowed.begin(), allowed.end(), core.cpu), allowed.end());
  }
  EXPECT_GT(machine->total_memory_bytes, 0);
  EXPECT_GT(machine->available_memory_bytes, 0);
  EXPECT_LE(machine->available_memory_bytes, machine->total_memory_bytes);
}

TEST(TopologyTest, RanksGetContiguousCoresOfTheirOwn) {
  const std::vector<RankPlacement> ranks = AssignCores(Machine({8, 8}), 4);
  ASSERT_EQ(ranks.size(), 4u);
  EXPECT_EQ(ranks[0].cpus, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(ranks[1].cpus, (std::vector<int>{4, 5, 6, 7}));
  EXPECT_EQ(ranks[2].cpus, (std::vector<int>{8, 9, 10, 11}));
  EXPECT_EQ(ranks[2].numa_node, 1);
  EXPECT_EQ(AssignCores(Machine({8, 8}), 4, 1)[1].cpus, (std::vector<int>{1}));
}

TEST(TopologyTest, ARankStaysOnOneNodeWhereThatCostsNoThread) {
  const std::vector<RankPlacement> ranks = AssignCores(Machine({5, 5}), 2);
  EXPECT_EQ(ranks[0].cpus, (std::vector<int>{0, 1, 2, 3, 4}));
  EXPECT_EQ(ranks[1].numa_node, 1);
  const std::vector<RankPlacement> pairs = AssignCores(Machine({3, 5}), 3);
  EXPECT_EQ(pairs[0].cpus, (std::vector<int>{0, 1}));
  EXPECT_EQ(pairs[1].cpus, (std::vector<int>{3, 4}));
  EXPECT_EQ(pairs[2].cpus, (std::vector<int>{5, 6}));
}

TEST(TopologyTest, MoreRanksThanCoresShareThemRoundRobin) {
  const std::vector<RankPlacement> ranks = AssignCores(Machine({2}), 5);
  ASSERT_EQ(ranks.size(), 5u);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(ranks[i].cpus, std::vector<int>{static_cast<int>(i % 2)});
}

TEST(TopologyTest, FormatsCpuLists) {
  EXPECT_EQ(FormatCpuList({}), "");
  EXPECT_EQ(FormatCpuList({3}), "3");
  EXPECT_EQ(FormatCpuList({8, 1, 0, 2, 3, 5, 6, 5}), "0-3,5,6,8");
}

}  // namespace
}  // namespace phalanx
