#include "config/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "config/config_loader.h"
#include "config/environment_reader.h"

namespace phalanx {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Result<LoadedConfig> Load(std::map<std::string, std::string> variables, const std::string& server = "") {
  return ParseServeConfig(
      R"({"ServerConfig":{)" + server +
          R"(},"BackendConfig":{"ModelDeployConfig":{"ModelConfig":[{"modelWeightPath":"/m"}]}}})",
      "c.json", Environment(std::move(variables)));
}

TEST(Environment, IsACopyOfTheProcess) {
  ASSERT_EQ(setenv("PHX_ENVIRONMENT_TEST", "a=b", 1), 0);
  EXPECT_EQ(Environment::OfProcess().Get("PHX_ENVIRONMENT_TEST"), "a=b");
  EXPECT_EQ(Environment::OfProcess().Get("PHX_NO_SUCH_VARIABLE"), std::nullopt);
}

TEST(Environment, LongValuesAreIgnoredWithAWarning) {
  auto loaded = Load({{"MIES_CONTAINER_IP", std::string(257, '1')}});
  ASSERT_TRUE(loaded.ok());
  EXPECT_THAT(loaded->warnings, ElementsAre(HasSubstr("MIES_CONTAINER_IP is longer than 256 characters")));
  EXPECT_EQ(loaded->config.server.ip_address, "127.0.0.1");
}

TEST(Environment, ReplacesFieldsOfTheFile) {
  auto loaded =
      Load({{"MIES_CONTAINER_IP", "127.0.0.5"}, {"NPU_DEVICE_IDS", "[3,4]"}}, R"("ipAddress":"bad")");
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_EQ(loaded->config.server.ip_address, "127.0.0.5");
  EXPECT_EQ(loaded->config.server.management_ip_address, "127.0.0.5");
  EXPECT_EQ(loaded->config.backend.npu_device_ids, (IntLists{{3, 4}}));
  EXPECT_EQ(loaded->config.model.world_size, 2);

  loaded = Load({{"MIES_CONTAINER_MANAGEMENT_IP", "127.0.0.9"}, {"NPU_DEVICE_IDS", "1, 2,3"}});
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_EQ(loaded->config.server.management_ip_address, "127.0.0.9");
  EXPECT_EQ(loaded->config.backend.npu_device_ids, (IntLists{{1, 2, 3}}));
}

TEST(Environment, BadValuesNameTheVariable) {
  EXPECT_THAT(Load({{"MIES_CONTAINER_IP", "nowhere"}}).status().message(),
              HasSubstr("ServerConfig.ipAddress: from environment MIES_CONTAINER_IP: found \"nowhere\""));
  EXPECT_THAT(Load({{"NPU_DEVICE_IDS", "a,b"}}).status().message(),
              HasSubstr("BackendConfig.npuDeviceIds: from environment NPU_DEVICE_IDS: found"));
  EXPECT_THAT(Load({{"NPU_MEMORY_FRACTION", "1.5"}}).status().message(),
              HasSubstr("environment.NPU_MEMORY_FRACTION: found 1.5; allowed: number, above 0 up to 1"));
}

TEST(Environment, BecomesSettings) {
  auto loaded = Load({{"NPU_MEMORY_FRACTION", "0.5"},
                      {"MINDIE_LOG_LEVEL", "llm:error; server:DEBUG"},
                      {"MINDIE_LOG_TO_STDOUT", "1"},
                      {"MINDIE_CHECK_INPUTFILES_PERMISSION", "0"},
                      {"MIES_SERVICE_MONITOR_MODE", "1"},
                      {"PYTORCH_NPU_ALLOC_CONF", "expandable_segments:True"},
                      {"ATB_WORKSPACE_MEM_ALLOC_ALG_TYPE", "3"}});
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_THAT(loaded->warnings, IsEmpty());
  const EnvironmentConfig& settings = loaded->config.environment;
  EXPECT_EQ(settings.npu_memory_fraction, 0.5);
  EXPECT_EQ(settings.log_level, "debug");
  EXPECT_TRUE(settings.log_to_stdout);
  EXPECT_FALSE(settings.check_inputfiles_permission);
  EXPECT_EQ(settings.workspace_mem_alloc_alg_type, 3);
  EXPECT_EQ(loaded->WithoutEffectLine(),
            "accepted, without effect yet: environment.ATB_WORKSPACE_MEM_ALLOC_ALG_TYPE");
  EXPECT_THAT(loaded->IgnoredLine(), HasSubstr("environment.PYTORCH_NPU_ALLOC_CONF ("));
}

TEST(Environment, LogSettingsThatMeanNothingKeepTheirDefault) {
  auto loaded = Load({{"MINDIE_LOG_LEVEL", "loud"}, {"MINDIE_LOG_TO_STDOUT", "perhaps"}});
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_EQ(loaded->config.environment.log_level, "info");
  EXPECT_FALSE(loaded->config.environment.log_to_stdout);
  EXPECT_THAT(loaded->warnings, ElementsAre(HasSubstr("MINDIE_LOG_LEVEL=\"loud\" is not understood"),
                                            HasSubstr("MINDIE_LOG_TO_STDOUT")));
}

TEST(ComponentValue, TheLastMatchCounts) {
  EXPECT_EQ(ComponentValue("info", "server"), "info");
  EXPECT_EQ(ComponentValue("llm:debug;server:warn", "server"), "warn");
  EXPECT_EQ(ComponentValue("server:warn; *:error", "server"), "error");
  EXPECT_EQ(ComponentValue("llm:debug", "server"), "");
  EXPECT_EQ(ComponentValue("", "server"), "");
}

}  // namespace
}  // namespace phalanx
