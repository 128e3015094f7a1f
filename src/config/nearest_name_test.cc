#include "config/nearest_name.h"

#include <gtest/gtest.h>

namespace phalanx {
namespace {

TEST(EditDistance, CountsEdits) {
  EXPECT_EQ(EditDistance("port", "port"), 0);
  EXPECT_EQ(EditDistance("Port", "port"), 0);
  EXPECT_EQ(EditDistance("prot", "port"), 1);
  EXPECT_EQ(EditDistance("por", "port"), 1);
  EXPECT_EQ(EditDistance("ports", "port"), 1);
  EXPECT_EQ(EditDistance("", "port"), 4);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
}

TEST(NearestName, TakesOnlyWhatIsNear) {
  const std::vector<std::string> names = {"tp", "dp", "port", "maxSeqLen", "max_position"};
  EXPECT_EQ(NearestName("maxSeqLenn", names), "maxSeqLen");
  EXPECT_EQ(NearestName("max_seq_len", names), "maxSeqLen");
  EXPECT_EQ(NearestName("PORT", names), "port");
  EXPECT_EQ(NearestName("xp", names), "");
  EXPECT_EQ(NearestName("TP", names), "tp");
  EXPECT_EQ(NearestName("something", names), "");
  EXPECT_EQ(NearestName("", names), "");
  EXPECT_EQ(NearestName(std::string(100000, 'a'), names), "");
}

}  // namespace
}  // namespace phalanx
