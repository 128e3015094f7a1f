#include "config/json_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>

#include "config/config_loader.h"

namespace phalanx {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string CompleteFile() {
  std::ifstream file(std::string(PHX_SOURCE_DIR) + "/src/config/testdata/complete_config.json");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(ParseJsonText, ErrorsNameLineAndColumn) {
  EXPECT_THAT(ParseJsonText("{\n  \"a\": 1,\n}").status().message(), HasSubstr("line 3, column 1"));
  EXPECT_THAT(ParseJsonText("{\n  \"a\": // no\n}").status().message(), HasSubstr("line 2, column 8"));
  EXPECT_THAT(ParseJsonText("{} {}").status().message(), HasSubstr("line 1, column 4"));
  for (const char* bad : {"", " ", "{", "\"", "nul", "{\"a\":1e999}", "\"\xff\"", "{'a':1}", "\"\n\""}) {
    EXPECT_EQ(ParseJsonText(bad).status().code(), StatusCode::kInvalidArgument) << bad;
  }
}

TEST(ParseJsonText, NestingIsBounded) {
  const std::string deepest = std::string(kMaxConfigDepth, '[') + std::string(kMaxConfigDepth, ']');
  EXPECT_TRUE(ParseJsonText(deepest).ok());
  EXPECT_THAT(ParseJsonText("[\n" + deepest + "]").status().message(),
              HasSubstr("line 2, column 64: nested deeper than 64"));
  EXPECT_FALSE(ParseJsonText(std::string(5'000'000, '[')).ok());
  EXPECT_TRUE(ParseJsonText('"' + std::string(1000, '[') + "\\\"" + std::string(1000, '{') + '"').ok());
}

TEST(ParseJsonText, DuplicateKeysAreTold) {
  auto parsed = ParseJsonText(R"({"a":{"b":1,"c":{"b":2}},"b":0,"a":{"b":3}})");
  ASSERT_TRUE(parsed.ok());
  EXPECT_THAT(parsed->duplicates, ElementsAre("key \"a\" appears twice in one object; the last one counts"));
  EXPECT_EQ(parsed->value["a"]["b"], 3);
}

// Whatever is in the file, there is an answer.
TEST(ParseServeConfigOfDamagedText, TruncatedAnywhere) {
  const std::string text = CompleteFile();
  const size_t end = text.find_last_of('}');
  for (size_t size = 0; size <= end; size += 7) {
    auto loaded = ParseServeConfig(text.substr(0, size), "c.json", {});
    ASSERT_FALSE(loaded.ok()) << size;
    EXPECT_THAT(loaded.status().message(),
                HasSubstr("Json file is invalid. Please check json format! line "));
  }
}

TEST(ParseServeConfigOfDamagedText, ChangedBytes) {
  const std::string text = CompleteFile();
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string damaged = text;
    for (int i = 0; i < 3; ++i) damaged[random() % damaged.size()] = static_cast<char>(random());
    auto loaded = ParseServeConfig(damaged, "c.json", {});
    if (!loaded.ok()) {
      EXPECT_FALSE(loaded.status().message().empty());
    }
  }
}

// Every value replaced by values of every kind: a problem or a configuration, never an end of the process.
TEST(ParseServeConfigOfDamagedText, ChangedValues) {
  const Json values[] = {
      nullptr, true, -1, 1e300, "", "x", Json::array(), Json::object(), Json::array({nullptr})};
  const Json file = ParseJsonText(CompleteFile())->value;
  const Json leaves = file.flatten();
  for (const auto& [pointer, old_value] : leaves.items()) {
    for (Json::json_pointer at(pointer); !at.empty(); at = at.parent_pointer()) {
      for (const Json& value : values) {
        Json changed = file;
        changed[at] = value;
        auto loaded = ParseServeConfig(DumpJson(changed), "c.json", {});
        if (!loaded.ok()) {
          EXPECT_THAT(loaded.status().message(), HasSubstr("found"));
        }
      }
    }
  }
}

}  // namespace
}  // namespace phalanx
