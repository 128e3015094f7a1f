#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "config/config_loader.h"

namespace phalanx {
namespace {

TEST(ConfigReference, IsWhatTheDeclarationsSay) {
  const std::string path = std::string(PHX_SOURCE_DIR) + "/docs/config-reference.md";
  const std::string generated = ConfigReferenceMarkdown();
  if (std::getenv("PHX_UPDATE_REFERENCE") != nullptr) std::ofstream(path) << generated;
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  // Compared as a bool: a difference of whole files would drown the line that says what to do.
  EXPECT_TRUE(text.str() == generated)
      << path << " is not what the field declarations say. Write it anew with:\n  PHX_UPDATE_REFERENCE=1 "
      << PHX_BINARY_DIR << "/phx_config_test --gtest_filter='ConfigReference.*'";
}

}  // namespace
}  // namespace phalanx
