#include "config/config_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace phalanx {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

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
            "  ModelConfig.npuMemSize: found 0; allowed: integer, -1 or 1 to 2147483647\n"
            "  ScheduleConfig.cacheBlockSize: found 129; allowed: integer, 1 to 128");
}

TEST(ParseServeConfig, TheShippedFileLoadsWithoutAWord) {
  auto loaded = Parse(ReadSourceFile("conf/config.json"));
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_THAT(loaded->warnings, IsEmpty());
  EXPECT_THAT(loaded->adjustments, IsEmpty());
  EXPECT_EQ(loaded->WithoutEffectLine(), "");
  EXPECT_EQ(loaded->IgnoredLine(), "");
  EXPECT_FALSE(loaded->config.server.https_enabled);
  EXPECT_EQ(loaded->config.model.world_size, 2);
  EXPECT_EQ(loaded->config.model.dp, 2);
}

TEST(ParseServeConfig, NamesWhatHasNoEffect) {
  auto loaded =
      ShortFile{.server = R"("fullTextEnabled":true,"tlsCert":"x.pem","httpsEnabled":false)",
                .backend = R"("tokenizerProcessNumber":2)",
                .model = R"("temperature":0.5,"models":{"qwen2":{"ep_level":2}},"backendType":"torch")",
                .schedule = R"("stageSelectPolicy":1,"maxFirstTokenWaitTime":2500)"}
          .Load();
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_EQ(loaded->WithoutEffectLine(),
            "accepted, without effect yet: ServerConfig.fullTextEnabled, models.*.ep_level, "
            "ScheduleConfig.stageSelectPolicy, ModelConfig.temperature");
  EXPECT_EQ(loaded->IgnoredLine(),
            "accepted and ignored: BackendConfig.tokenizerProcessNumber (text is tokenized by threads of the "
            "daemon), "
            "ModelConfig.backendType (one back end only)");
  EXPECT_EQ(loaded->config.model.free_keys.at("temperature"), "0.5");
}

TEST(ParseServeConfig, UnknownKeysAreWarningsWithTheNearestName) {
  auto loaded =
      ShortFile{.server = R"("prot":2000,"maxSeqLen":1,"HealthCheckConfig":{"npuUsageTreshold":1},"zzz":1)",
                .model = R"("worldsize":2,"top_k":3,"eos_token_id":2,"models":{"qwen2":{"ep_lvel":1}})"}
          .Load();
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_THAT(loaded->warnings,
              testing::UnorderedElementsAre(
                  "ServerConfig.prot: unknown key, ignored; did you mean \"port\"?",
                  "ServerConfig.maxSeqLen: unknown key here, ignored; it belongs into ModelDeployConfig",
                  "ServerConfig.HealthCheckConfig.npuUsageTreshold: unknown key, ignored; did you mean "
                  "\"npuUsageThreshold\"?",
                  "ServerConfig.zzz: unknown key, ignored",
                  "ModelConfig.worldsize: handed to the model as a free key; did you mean \"worldSize\"?"));
}

TEST(ParseServeConfig, FeaturesThatComeLaterAreRefusedWithTheReason) {
  const std::pair<ShortFile, const char*> cases[] = {
      {{.server = R"("httpsEnabled":true)"},
       "ServerConfig.httpsEnabled: found true, which this version can't do: TLS comes later"},
      {{.server = R"("tlsCert":"a.pem")"},
       "ServerConfig.httpsEnabled: found nothing, beside a configured certificate"},
      {{.server = R"("inferMode":"dmi")"}, "ServerConfig.inferMode: found \"dmi\""},
      {{.server = R"("distDPServerEnabled":true)"}, "ServerConfig.distDPServerEnabled: found true"},
      {{.server = R"("layerwiseDisaggregated":true)"}, "ServerConfig.layerwiseDisaggregated: found true"},
      {{.backend = R"("multiNodesInferEnabled":true)"}, "BackendConfig.multiNodesInferEnabled: found true"},
      {{.backend = R"("modelInstanceNumber":2)"}, "BackendConfig.modelInstanceNumber: found 2"},
      {{.model = R"("modelInstanceType":"StandardMock")"},
       "ModelConfig.modelInstanceType: found \"StandardMock\""},
      {{.model = R"("pp":2)"}, "ModelConfig.pp: found 2"},
      {{.schedule = R"("distributedEnable":true)"}, "ScheduleConfig.distributedEnable: found true"},
  };
  for (const auto& [file, expected] : cases) {
    auto loaded = file.Load();
    ASSERT_FALSE(loaded.ok()) << expected;
    EXPECT_EQ(loaded.status().code(), StatusCode::kUnimplemented) << loaded.status().message();
    EXPECT_THAT(loaded.status().message(), HasSubstr(expected));
  }
}

TEST(ParseServeConfig, RulesBetweenFields) {
  const std::pair<ShortFile, const char*> cases[] = {
      {{.server = R"("port":2000)", .backend = R"("multiNodesInferPort":2000)"},
       "BackendConfig.multiNodesInferPort: found 2000"},
      {{.server = R"("ipAddress":"0.0.0.0")"}, "only with allowAllZeroIpListening true"},
      {{.server = R"("managementIpAddress":"0::0")"}, "ServerConfig.managementIpAddress: found \"0::0\""},
      {{.backend = R"("npuDeviceIds":[[0,1]])", .model = R"("worldSize":4)"},
       "BackendConfig.npuDeviceIds: found a list of 2 devices; allowed: as many devices as worldSize, 4"},
      {{.backend = R"("npuDeviceIds":[[0],[1]])", .model = R"("worldSize":1)"},
       "found 2 lists; allowed: as many lists as modelInstanceNumber, 1"},
      {{.backend = R"("npuDeviceIds":[[0,0]])"}, "found a device twice in one list"},
      {{.backend = R"("npuDeviceIds":[])"}, "found 0 lists"},
      {{.model = R"("cpuMemSize":0)", .schedule = R"("maxPreemptCount":1)"},
       "ScheduleConfig.maxPreemptCount: found 1; allowed: 0"},
      {{.deploy = R"("maxInputTokenLen":4096)", .schedule = R"("maxPrefillTokens":2048)"},
       "ScheduleConfig.maxPrefillTokens: found 2048; allowed: at least ModelDeployConfig.maxInputTokenLen, "
       "4096"},
      {{.schedule = R"("maxPrefillBatchSize":20,"maxBatchSize":10)"},
       "ScheduleConfig.maxPrefillBatchSize: found 20"},
      {{.schedule = R"("maxN":20,"maxBatchSize":10)"}, "ScheduleConfig.maxN: found 20"},
      {{.schedule = R"("prefillChunkSize":9000,"maxPrefillTokens":8192)"},
       "ScheduleConfig.prefillChunkSize: found 9000"},
      {{.model = R"("plugin_params":"{\"plugin_type\":\"splitfuse\"}")"},
       "ScheduleConfig.templateType: found \"Standard\""},
      {{.model = R"("plugin_params":"{oops")"},
       "ModelConfig.plugin_params: its text is no JSON: line 1, column 2"},
      {{.model = R"("plugin_params":5)"}, "ModelConfig.plugin_params: found number"},
      {{.model = R"("plugin_params":{"plugin_type":"la","level":2})"}, "plugin_params.level: found 2"},
      {{.deploy = R"("LoraModules":[{"name":"a","path":"/a","baseModelName":"other"}])"},
       "LoraModules.baseModelName: found \"other\"; allowed: the modelName, \"llama_65b\""},
      {{.deploy = R"("LoraModules":[{"name":"a"}])"}, "LoraModules.path: found nothing"},
      {{.server = R"("HealthCheckConfig":5)"},
       "ServerConfig.HealthCheckConfig: found number; allowed: an object"},
  };
  for (const auto& [file, expected] : cases) {
    EXPECT_THAT(ErrorOf(file.Load()), AllOf(HasSubstr("1 problem\n"), HasSubstr(expected)));
  }
}

TEST(ParseServeConfig, SectionsOfTheWrongKind) {
  EXPECT_THAT(ErrorOf(Parse("[]")), HasSubstr("found array; allowed: an object"));
  EXPECT_THAT(ErrorOf(Parse(R"({"ServerConfig":[]})")),
              HasSubstr("ServerConfig: found array; allowed: an object"));
  EXPECT_THAT(
      ErrorOf(Parse(R"({"BackendConfig":{"ModelDeployConfig":{"ModelConfig":[{},{}]}}})")),
      HasSubstr("ModelDeployConfig.ModelConfig: found a list of 2; allowed: a list of exactly one object"));
  EXPECT_THAT(ErrorOf(Parse(R"({"BackendConfig":{"ModelDeployConfig":{"ModelConfig":{}}}})")),
              HasSubstr("ModelDeployConfig.ModelConfig: found object"));
}

TEST(ParseServeConfig, WhatTheOriginalRefusesAndWeAccept) {
  const ShortFile files[] = {
      {.model = R"("dp":-1,"cp":-1,"sp":-1)"},
      {.schedule = R"("templateType":"Mix")"},
      {.deploy = R"("maxInputTokenLen":16384,"maxSeqLen":20000)"},
      {.deploy = R"("truncation":true)"},
      {.deploy = R"("truncation":-1,"maxLoras":-5)"},
      {.model = R"("plugin_params":"")"},
      {.model = R"("plugin_params":{"plugin_type":"splitfuse"})", .schedule = R"("templateType":"Mix")"},
      {.model =
           R"("models":{"layerwiseDisaggregatedMasterDeviceNum":2,"q":{"h3p":{"enable_gating_dp":"false"}}})"},
      {.server = R"("managementIpAddress":"127.0.0.2")"},
  };
  for (const ShortFile& file : files) {
    auto loaded = file.Load();
    EXPECT_TRUE(loaded.ok()) << file.Text() << "\n" << ErrorOf(loaded);
    if (loaded.ok()) {
      EXPECT_THAT(loaded->warnings, IsEmpty()) << file.Text();
    }
  }
  EXPECT_EQ(files[3].Load()->config.deploy.truncation, -1);
  EXPECT_EQ(files[4].Load()->config.deploy.max_loras, 0);
  EXPECT_EQ(files[6].Load()->WithoutEffectLine(), "");
  EXPECT_FALSE(files[7].Load()->config.model.models.at("q").h3p_enable_gating_dp);
}

TEST(ParseServeConfig, DevicesAndWorldSizeFillEachOther) {
  auto by_devices = ShortFile{.backend = R"("npuDeviceIds":[[4,5,6]])"}.Load();
  ASSERT_TRUE(by_devices.ok());
  EXPECT_EQ(by_devices->config.model.world_size, 3);
  auto by_size = ShortFile{.model = R"("worldSize":3)"}.Load();
  ASSERT_TRUE(by_size.ok());
  EXPECT_EQ(by_size->config.backend.npu_device_ids, (IntLists{{0, 1, 2}}));
}

TEST(ParseServeConfig, MakesTheDocumentedAdjustments) {
  auto loaded = ShortFile{.deploy = R"("maxSeqLen":100,"maxInputTokenLen":100)",
                          .schedule = R"("maxPrefillTokens":100,"maxBatchSize":150,"maxPrefillBatchSize":0)"}
                    .Load();
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_THAT(loaded->adjustments,
              ElementsAre("ModelDeployConfig.maxInputTokenLen 100 takes effect as 99: maxSeqLen - 1",
                          "ScheduleConfig.maxBatchSize 150 takes effect as 100: maxPrefillTokens"));
  EXPECT_EQ(loaded->config.deploy.max_input_token_len, 99);
  EXPECT_EQ(loaded->config.schedule.max_prefill_tokens, 100);
  EXPECT_EQ(loaded->config.schedule.max_batch_size, 100);
  EXPECT_EQ(loaded->config.schedule.max_prefill_batch_size, 100);
  EXPECT_EQ(loaded->config.schedule.max_n, 100);

  auto raised = ShortFile{.deploy = R"("maxSeqLen":5000,"maxInputTokenLen":3000)",
                          .schedule = R"("maxPrefillTokens":3000,"maxIterTimes":1000)"}
                    .Load();
  ASSERT_TRUE(raised.ok());
  EXPECT_EQ(raised->config.schedule.max_prefill_tokens, 4000);
}

TEST(ParseServeConfig, PlainHttpBeyondLoopbackIsAWarning) {
  auto loaded = ShortFile{.server = R"("ipAddress":"10.0.0.1")"}.Load();
  ASSERT_TRUE(loaded.ok());
  EXPECT_THAT(loaded->warnings, ElementsAre(HasSubstr("ServerConfig.ipAddress 10.0.0.1: plain HTTP")));
}

TEST(ParseServeConfig, LoraModulesOfOneNameCountOnce) {
  auto loaded =
      ShortFile{.deploy = R"("LoraModules":[{"name":"a","path":"/1"},{"name":"a","path":"/2"}])"}.Load();
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  ASSERT_EQ(loaded->config.deploy.lora_modules.size(), 1u);
  EXPECT_EQ(loaded->config.deploy.lora_modules[0].path, "/1");
  EXPECT_THAT(loaded->warnings, ElementsAre(HasSubstr("\"a\" appears twice")));
}

TEST(ParseServeConfig, FurtherChecksJoinTheReport) {
  const std::vector<ConfigCheck> checks = {
      [](const ServeConfig&) { return Status::Ok(); },
      [](const ServeConfig& config) {
        return InvalidArgument("tp: found " + std::to_string(config.model.tp) + "\ndp: bad");
      }};
  auto loaded =
      ParseServeConfig(ShortFile{.server = R"("port":1)", .model = R"("tp":3)"}.Text(), "c.json", {}, checks);
  EXPECT_EQ(ErrorOf(loaded),
            "c.json: 3 problems\n"
            "  ServerConfig.port: found 1; allowed: integer, 1024 to 65535\n"
            "  tp: found 3\n"
            "  dp: bad");
}

TEST(ServeConfigToJson, ComesBackTheSame) {
  auto first = Parse(ReadSourceFile("src/config/testdata/complete_config.json"));
  ASSERT_TRUE(first.ok());
  first->config.model.free_keys["temperature"] = "0.5";
  first->config.model.plugin_params.plugin_type = "prefix_cache";
  first->config.deploy.lora_modules.push_back({.name = "a", .path = "/a", .base_model_name = "deepseekv2"});
  const std::string text = ServeConfigToJson(first->config);
  auto second = Parse(text);
  ASSERT_TRUE(second.ok()) << second.status().message();
  EXPECT_EQ(ServeConfigToJson(second->config), text);
  EXPECT_EQ(second->config.model.dp, 8);
  EXPECT_EQ(second->config.model.models.at("deepseekv2").ep_level, 1);
  EXPECT_EQ(second->config.model.free_keys.at("temperature"), "0.5");
}

}  // namespace
}  // namespace phalanx
