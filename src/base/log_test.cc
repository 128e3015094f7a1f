#include "base/log.h"

#include <gtest/gtest.h>

namespace phalanx {
namespace {

TEST(LogTest, WritesLevelAndWhoToStderr) {
  testing::internal::CaptureStderr();
  InitLog("rank 3", LogLevel::kWarning);
  LogInfo("not shown {}", 1);
  LogWarning("shown {}", 2);
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(text.find("not shown"), std::string::npos);
  EXPECT_NE(text.find("warning [rank 3] shown 2\n"), std::string::npos) << text;
  InitLog("", LogLevel::kInfo);
}

TEST(LogTest, KnowsLevelNames) {
  EXPECT_EQ(ParseLogLevel("DEBUG"), LogLevel::kDebug);
  EXPECT_EQ(ParseLogLevel("Warn"), LogLevel::kWarning);
  EXPECT_EQ(ParseLogLevel("critical"), LogLevel::kError);
  EXPECT_EQ(ParseLogLevel("whatever"), LogLevel::kInfo);
}

}  // namespace
}  // namespace phalanx
