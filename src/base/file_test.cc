#include "base/file.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace phalanx {
namespace {

class FileTest : public testing::Test {
 protected:
  FileTest() : folder_(testing::TempDir() + "file_test" + std::to_string(::getpid())) {}
  void TearDown() override { ::unlink(folder_.c_str()); }
  std::string folder_;
};

TEST_F(FileTest, WritesReadsAndMaps) {
  ASSERT_TRUE(WriteFile(folder_, "some text").ok());
  ASSERT_TRUE(WriteFile(folder_, "other text").ok());
  const Result<std::string> text = ReadFile(folder_);
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text, "other text");
  Result<MappedFile> mapped = MappedFile::Open(folder_);
  ASSERT_TRUE(mapped.ok());
  const MappedFile moved = std::move(*mapped);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(moved.data()), moved.size()), "other text");
  EXPECT_EQ(moved.path(), folder_);
}

TEST_F(FileTest, AnEmptyFileMapsAsNoBytes) {
  ASSERT_TRUE(WriteFile(folder_, "").ok());
  const Result<MappedFile> mapped = MappedFile::Open(folder_);
  ASSERT_TRUE(mapped.ok());
  EXPECT_EQ(mapped->size(), 0u);
}

TEST_F(FileTest, ErrorsNameThePath) {
  const Status missing = MappedFile::Open("/nowhere/at/all").status();
  EXPECT_EQ(missing.code(), StatusCode::kNotFound);
  EXPECT_NE(missing.message().find("/nowhere/at/all"), std::string::npos);
  EXPECT_EQ(MappedFile::Open("/tmp").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadFile("/tmp").status().code(), StatusCode::kInvalidArgument);
  ASSERT_TRUE(WriteFile(folder_, "12345").ok());
  EXPECT_EQ(ReadFile(folder_, 4).status().code(), StatusCode::kResourceExhausted);
}

TEST_F(FileTest, ReadsFilesWithoutASize) {
  const Result<std::string> text = ReadFile("/proc/self/status");
  ASSERT_TRUE(text.ok());
  EXPECT_NE(text->find("Pid:"), std::string::npos);
}

}  // namespace
}  // namespace phalanx
