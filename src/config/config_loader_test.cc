#include "config/config_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/json.h"
#include "config/config_file.h"

namespace phalanx {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Result<LoadedConfig> Parse(const std::string& text, const Environment& environment = {}) {
  return ParseServeConfig(text, "config.json", environment);
}

// A file with the least that may stand there, plus `server`, `backend`, `deploy`, `model`, `schedule` members.
struct ShortFile {
  std::string server = "", backend = "", deploy = "", model = "", schedule = "";

  std::string Text() const {
    auto list = [](const std::string& first, const std::string& rest) {
      return first + (first.empty() || rest.empty() ? "" : ",") + rest;
    };
    return R"({"ServerConfig":{)" + server + R"(},"BackendConfig":{)" +
           list(backend, R"("ModelDeployConfig":{)") +
           list(deploy, R"("ModelConfig":[{"modelWeightPath":"/m")") + (model.empty() ? "" : ",") + model +
           R"(}]},"ScheduleConfig":{)" + schedule + "}}}";
  }
  Result<LoadedConfig> Load(const Environment& environment = {}) const { return Parse(Text(), environment); }
};

std::string ErrorOf(const Result<LoadedConfig>& result) {
  return result.ok() ? "no error" : result.status().message();
}

std::string ReadSourceFile(const std::string& path) {
  std::ifstream file(std::string(PHX_SOURCE_DIR) + "/" + path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(ParseServeConfig, ReadsACompleteFile) {
  auto loaded = Parse(ReadSourceFile("src/config/testdata/complete_config.json"));
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_THAT(loaded->warnings, IsEmpty());
  EXPECT_EQ(loaded->WithoutEffectLine(), "accepted, without effect yet: ModelConfig.cpuMemSize");
  const ServeConfig& config = loaded->config;
  EXPECT_EQ(config.server.port, 1025);
  EXPECT_EQ(config.server.max_link_num, 300);
  EXPECT_EQ(config.backend.npu_device_ids, (IntLists{{0, 1, 2, 3, 4, 5, 6, 7}}));
  EXPECT_EQ(config.deploy.max_seq_len, 4096);
  EXPECT_EQ(config.model.model_name, "deepseekv2");
  EXPECT_EQ(config.model.model_weight_path, "/srv/weights/deepseek-v2-lite");
  EXPECT_EQ(config.model.dp, 8);
  EXPECT_EQ(config.model.moe_tp, 8);
  EXPECT_EQ(config.model.moe_ep, -1);
  EXPECT_EQ(config.model.models.at("deepseekv2").ep_level, 1);
  EXPECT_EQ(config.schedule.max_batch_size, 64);
}

TEST(ParseServeConfig, FillsAShortFile) {
  auto loaded = ShortFile{.server = R"("httpsEnabled":false)",
                          .backend = R"("npuDeviceIds":[[0,1]])",
                          .model = R"("modelName":"m","worldSize":2,"dp":2)"}
                    .Load();
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_THAT(loaded->warnings, IsEmpty());
  EXPECT_EQ(loaded->WithoutEffectLine(), "");
  EXPECT_EQ(loaded->IgnoredLine(), "");
  EXPECT_EQ(loaded->config.server.management_ip_address, "127.0.0.1");
  EXPECT_EQ(loaded->config.server.management_port, 1025);
  EXPECT_EQ(loaded->config.server.metrics_port, 1027);
  EXPECT_EQ(loaded->config.schedule.max_n, 128);
}

TEST(ParseServeConfig, NeedsOnlyTheModelsPath) {
  EXPECT_THAT(ErrorOf(Parse("{}")),
              AllOf(HasSubstr("1 problem\n"), HasSubstr("ModelConfig.modelWeightPath: found nothing")));
}

TEST(ParseServeConfig, ReportsAllProblemsTogether) {
  auto loaded = ShortFile{.server = R"("port":80,"maxLinkNum":"many","inferMode":"fast")",
                          .model = R"("npuMemSize":0)",
                          .schedule = R"("cacheBlockSize":129)"}
                    .Load();
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(loaded.status().param(), "ServerConfig.port");
  EXPECT_EQ(loaded.status().message(),
            "config.json: 5 problems\n"
            "  ServerConfig.port: found 80; allowed: integer, 1024 to 65535\n"
            "  ServerConfig.maxLinkNum: found \"many\"; allowed: integer, 1 to 4096\n"
            "  ServerConfig.inferMode: found \"fast\"; allowed: text, \"standard\" or \"dmi\"\n"
            "  ModelConfig.npuMemSize: found 0; allowed: integer, -1 or at least 1\n"
            "  ScheduleConfig.cacheBlockSize: found 129; allowed: integer, 1 to 128");
}

}  // namespace
}  // namespace phalanx
