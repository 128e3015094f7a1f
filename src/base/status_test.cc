#include "base/status.h"

#include <gtest/gtest.h>

namespace phalanx {
namespace {

Result<int> Half(int x) {
  if (x % 2 != 0) return InvalidArgument("x is odd").WithParam("x");
  return x / 2;
}

Result<int> Quarter(int x) {
  ASSIGN_OR_RETURN(int half, Half(x));
  return Half(half);
}

TEST(StatusTest, ErrorsTravelThroughAssignOrReturn) {
  EXPECT_EQ(*Quarter(8), 2);
  const Result<int> failed = Quarter(6);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(failed.status().param(), "x");
  EXPECT_EQ(failed.status().ToString(), "invalid argument: x is odd");
}

}  // namespace
}  // namespace phalanx
