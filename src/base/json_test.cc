#include "base/json.h"

#include <gtest/gtest.h>

namespace phalanx {
namespace {

TEST(JsonTest, ParsesAndReads) {
  const Result<Json> json = ParseJson(R"({"s": "x", "i": -3, "b": true, "d": 1.5, "l": [1, 2]})");
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(*JsonString(*json, "s"), "x");
  EXPECT_EQ(*JsonInt(*json, "i"), -3);
  EXPECT_EQ(*JsonBool(*json, "b"), true);
  EXPECT_EQ(*JsonDouble(*json, "d"), 1.5);
  EXPECT_EQ(*JsonInts(*json, "l"), (std::vector<int>{1, 2}));
  EXPECT_FALSE(JsonString(*json, "i").ok());
  EXPECT_FALSE(JsonInt(*json, "d").ok());
  EXPECT_NE(JsonInt(*json, "nothing").status().message().find("nothing"), std::string::npos);
  EXPECT_FALSE(JsonInt(Json(3), "i").ok());
}

TEST(JsonTest, RefusesWhatIsNotJson) {
  for (const char* text : {"", "{", "{\"a\":}", "[1,]", "\"\xff\"", "nul", "1 2", "{\"a\": 1e999999}"}) {
    const Result<Json> json = ParseJson(text);
    EXPECT_EQ(json.status().code(), StatusCode::kInvalidArgument) << text;
  }
}

TEST(JsonTest, BoundsTheDepth) {
  EXPECT_TRUE(ParseJson("[[[1]]]", 3).ok());
  EXPECT_FALSE(ParseJson("[[[1]]]", 2).ok());
  EXPECT_FALSE(ParseJson(std::string(1'000'000, '['), 100).ok());
  EXPECT_TRUE(ParseJson(R"(["[[[[\"[[[["])", 1).ok());
}

TEST(JsonTest, DumpReplacesBadBytes) {
  EXPECT_EQ(DumpJson(Json("a\xff")), "\"a\xEF\xBF\xBD\"");
  OrderedJson ordered;
  ordered["z"] = 1;
  ordered["a"] = 2;
  EXPECT_EQ(DumpJson(ordered), R"({"z":1,"a":2})");
}

}  // namespace
}  // namespace phalanx
