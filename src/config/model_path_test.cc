#include "config/model_path.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace phalanx {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

namespace fs = std::filesystem;

class ModelPathTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "phx-model-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  void Touch(const std::string& name) { std::ofstream(folder_ / name) << "x"; }
  std::string Error() {
    auto resolved = ResolveModelPath(folder_.string());
    return resolved.ok() ? "no error" : resolved.status().message();
  }

  fs::path folder_;
};

TEST_F(ModelPathTest, HuggingFaceFolder) {
  Touch("config.json");
  EXPECT_THAT(Error(), HasSubstr("holds config.json but no *.safetensors"));
  Touch("model.safetensors");
  Touch("also.gguf");
  auto resolved = ResolveModelPath(folder_.string() + "/");
  ASSERT_TRUE(resolved.ok());
  EXPECT_EQ(resolved->kind, CheckpointKind::kHuggingFace);
}

TEST_F(ModelPathTest, FolderWithOneGguf) {
  EXPECT_THAT(Error(), HasSubstr("holds no model; expected"));
  Touch("b.gguf");
  auto resolved = ResolveModelPath(folder_.string());
  ASSERT_TRUE(resolved.ok());
  EXPECT_EQ(resolved->kind, CheckpointKind::kGguf);
  EXPECT_EQ(resolved->path, (folder_ / "b.gguf").string());
  Touch("a.gguf");
  EXPECT_THAT(Error(), HasSubstr("holds 2 .gguf files (a.gguf, b.gguf); name the one to serve"));
}

TEST_F(ModelPathTest, GgufFile) {
  Touch("a.gguf");
  Touch("a.bin");
  auto resolved = ResolveModelPath((folder_ / "a.gguf").string());
  ASSERT_TRUE(resolved.ok());
  EXPECT_EQ(resolved->kind, CheckpointKind::kGguf);
  EXPECT_THAT(ResolveModelPath((folder_ / "a.bin").string()).status().message(),
              HasSubstr("neither a folder nor a .gguf"));
}

TEST_F(ModelPathTest, WeightsWithoutConfig) {
  Touch("model.safetensors");
  EXPECT_THAT(Error(), AllOf(HasSubstr("model.safetensors but no config.json")));
}

TEST_F(ModelPathTest, NothingThere) {
  EXPECT_EQ(ResolveModelPath((folder_ / "none").string()).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(ResolveModelPath("").status().code(), StatusCode::kInvalidArgument);
}

TEST_F(ModelPathTest, WiderModesAreAWarning) {
  ServeConfig config;
  config.model.model_weight_path = folder_.string();
  chmod(folder_.c_str(), 0750);
  EXPECT_EQ(ModelPathWarning(config), "");
  chmod(folder_.c_str(), 0755);
  EXPECT_THAT(ModelPathWarning(config), HasSubstr("has mode 0755 (recommended: 0750)"));
  config.environment.check_inputfiles_permission = false;
  EXPECT_EQ(ModelPathWarning(config), "");
}

}  // namespace
}  // namespace phalanx
