#include "compute/layers/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "parallel/comm/single/single_communicator.h"

namespace phalanx {
namespace {

RopeConfig Plain() {
  RopeConfig rope;
  rope.theta = 10000;
  rope.dim = 8;
  rope.max_position = rope.original_max_position = 100;
  return rope;
}

TEST(RopeFrequencies, DynamicGrowsWithTheReservedLengthOnly) {
  RopeConfig rope = Plain();
  rope.type = RopeConfig::Type::kDynamic;
  rope.factor = 2;
  const std::vector<double> trained = ComputeRopeFrequencies(rope, 0).frequency;
  EXPECT_EQ(ComputeRopeFrequencies(rope, 100).frequency, trained);
  // theta' = theta * (2 * 200 / 100 - 1)^(8 / 6)
  const double theta = 10000 * std::pow(3.0, 8.0 / 6.0);
  EXPECT_NEAR(ComputeRopeFrequencies(rope, 200).frequency[1], std::pow(theta, -0.25), 1e-12);
}

TEST(RopeFrequencies, LongRopeChoosesByTheReservedLength) {
  RopeConfig rope = Plain();
  rope.type = RopeConfig::Type::kLongRope;
  rope.short_factor = {1, 1, 1, 1};
  rope.long_factor = {2, 2, 2, 2};
  rope.factor = 4;
  EXPECT_DOUBLE_EQ(ComputeRopeFrequencies(rope, 100).frequency[0], 1.0);
  EXPECT_DOUBLE_EQ(ComputeRopeFrequencies(rope, 101).frequency[0], 0.5);
  EXPECT_NEAR(ComputeRopeFrequencies(rope, 0).amplitude, std::sqrt(1 + std::log(4.0) / std::log(100.0)),
              1e-12);
}

TEST(RopeTable, AnglesStayExactFarOut) {
  RopeTable table(Plain());
  ThreadTeam team({-1});
  SingleCommunicator alone;
  LayerContext context;
  context.threads = &team;
  context.tp = &alone;
  ForwardBatch batch;
  batch.token_ids = {7};
  ForwardSequence sequence;
  sequence.num_rows = 1;
  sequence.first_position = 1000003;
  batch.sequences.push_back(sequence);
  table.Fill(context, batch);
  EXPECT_FLOAT_EQ(table.Row(0)[0], static_cast<float>(std::cos(1000003.0)));
  EXPECT_FLOAT_EQ(table.Row(0)[4 + 1], static_cast<float>(std::sin(1000003.0 * 0.1)));
}

}  // namespace
}  // namespace phalanx
