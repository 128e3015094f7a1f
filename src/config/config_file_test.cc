#include "config/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "config/config_loader.h"

namespace phalanx {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace fs = std::filesystem;

class ConfigFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "phx-config-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Write(const std::string& name, const std::string& text, mode_t mode = 0640) {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
    chmod(path.c_str(), mode);
    return path.string();
  }

  Result<LoadedConfig> Load(const std::string& path, const Environment& environment = {}) {
    return LoadServeConfig({path, folder_.string(), "--config-file"}, environment);
  }
  std::string LoadError(const std::string& path) {
    auto loaded = Load(path);
    return loaded.ok() ? "no error" : loaded.status().message();
  }

  fs::path folder_;
};

constexpr char kShort[] =
    R"({"BackendConfig":{"ModelDeployConfig":{"ModelConfig":[{"modelWeightPath":"/m"}]}}})";

TEST_F(ConfigFileTest, UsualModesAreSilent) {
  for (mode_t mode : {0640, 0600, 0440, 0400}) {
    auto loaded = Load(Write("c.json", kShort, mode));
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    EXPECT_THAT(loaded->warnings, IsEmpty());
    EXPECT_EQ(loaded->home, folder_.string());
    fs::remove(folder_ / "c.json");
  }
}

TEST_F(ConfigFileTest, WiderModesAndLinksAreOneWarning) {
  const std::string path = Write("c.json", kShort, 0644);
  auto loaded = Load(path);
  ASSERT_TRUE(loaded.ok());
  EXPECT_THAT(loaded->warnings, ElementsAre(path + " has mode 0644 (recommended: 0640)"));

  const std::string link = (folder_ / "link.json").string();
  fs::create_symlink(path, link);
  loaded = Load(link);
  ASSERT_TRUE(loaded.ok());
  EXPECT_THAT(loaded->warnings, ElementsAre(link + " is a symbolic link, has mode 0644 (recommended: 0640)"));

  loaded = Load(link,
                Environment(std::map<std::string, std::string>{{"MINDIE_CHECK_INPUTFILES_PERMISSION", "0"}}));
  ASSERT_TRUE(loaded.ok());
  EXPECT_THAT(loaded->warnings, IsEmpty());
}

TEST_F(ConfigFileTest, WhatIsNoFileIsNamed) {
  EXPECT_THAT(LoadError((folder_ / "none.json").string()),
              AllOf(HasSubstr("none.json is not a regular file or not exists"),
                    HasSubstr("looked for it by --config-file")));
  EXPECT_EQ(Load((folder_ / "none.json").string()).status().code(), StatusCode::kNotFound);
  EXPECT_THAT(LoadError(folder_.string()), HasSubstr("is not a regular file"));
  EXPECT_THAT(LoadError(Write("empty.json", "")), HasSubstr("file is empty"));
  EXPECT_THAT(LoadError(std::string(5000, 'a')), HasSubstr("5000 characters"));
  EXPECT_THAT(LoadError(""), HasSubstr("0 characters"));
  const std::string pipe = (folder_ / "pipe").string();
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(LoadError(pipe), HasSubstr("is not a regular file"));
}

TEST_F(ConfigFileTest, TenMegabytesAreTheLimit) {
  std::string text = kShort;
  text.resize(kMaxConfigFileBytes, ' ');
  EXPECT_EQ(LoadError(Write("c.json", text)), "no error");
  EXPECT_THAT(LoadError(Write("d.json", text + " ")), HasSubstr("file is too large: 10485761 bytes"));
}

TEST_F(ConfigFileTest, IsFoundByTheFirstRuleThatFits) {
  const std::string executable = "/opt/phx/bin/daemon";
  Write("home/__init__.py", "");
  const std::string home = (folder_ / "home").string();
  std::map<std::string, std::string> variables;
  auto found = [&](const std::string& argument = "") {
    return FindConfigFile(argument, executable, Environment(variables));
  };
  EXPECT_EQ(found().path, "/opt/phx/conf/config.json");
  EXPECT_EQ(found().home, "/opt/phx");
  variables["MIES_INSTALL_PATH"] = "/install";
  EXPECT_EQ(found().path, "/install/conf/config.json");
  variables["MINDIE_LLM_HOME_PATH"] = "/no/such/folder";
  EXPECT_EQ(found().path, "/install/conf/config.json");
  variables["MINDIE_LLM_HOME_PATH"] = home;
  EXPECT_EQ(found().path, home + "/conf/config.json");
  EXPECT_EQ(found().home, home);
  variables["MIES_CONFIG_JSON_PATH"] = "/etc/phx/conf/c.json";
  EXPECT_EQ(found().path, "/etc/phx/conf/c.json");
  EXPECT_EQ(found().home, "/etc/phx");
  EXPECT_EQ(found("my.json").path, "my.json");
  EXPECT_EQ(found("my.json").found_by, "--config-file");
}

}  // namespace
}  // namespace phalanx
