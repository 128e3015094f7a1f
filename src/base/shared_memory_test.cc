#include "base/shared_memory.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

namespace phalanx {
namespace {

int64_t AllocatedBytes(const SharedMemory& memory) {
  struct stat info {};
  EXPECT_EQ(::fstat(memory.fd(), &info), 0);
  return static_cast<int64_t>(info.st_blocks) * 512;
}

TEST(SharedMemoryTest, TakesMemoryOnlyWhereItIsWritten) {
  Result<SharedMemory> memory = SharedMemory::Create("test", size_t{64} << 30);
  ASSERT_TRUE(memory.ok()) << memory.status().ToString();
  const Result<SharedMapping> mapping = SharedMapping::Map(*memory, size_t{32} << 30, size_t{1} << 30, true);
  ASSERT_TRUE(mapping.ok()) << mapping.status().ToString();
  EXPECT_EQ(AllocatedBytes(*memory), 0);
  EXPECT_EQ(mapping->data()[12345], std::byte{0});
  mapping->data()[0] = std::byte{1};
  const int64_t after_one_byte = AllocatedBytes(*memory);
  EXPECT_GT(after_one_byte, 0);
  EXPECT_LE(after_one_byte, static_cast<int64_t>(2 * kHugePageBytes));
  ASSERT_TRUE(memory->Punch(size_t{32} << 30, size_t{1} << 30).ok());
  EXPECT_EQ(AllocatedBytes(*memory), 0);
}

TEST(SharedMemoryTest, IsSharedBetweenMappingsAndProcesses) {
  Result<SharedMemory> memory = SharedMemory::Create("test", 100);
  ASSERT_TRUE(memory.ok());
  ASSERT_TRUE(memory->Resize(3 * kHugePageBytes).ok());
  const Result<SharedMapping> one = SharedMapping::Map(*memory, 0, memory->size(), true);
  Result<SharedMemory> adopted = SharedMemory::Adopt(UniqueFd(::dup(memory->fd())));
  ASSERT_TRUE(adopted.ok());
  EXPECT_EQ(adopted->size(), memory->size());
  const Result<SharedMapping> other = SharedMapping::Map(*adopted, 0, adopted->size(), false);
  ASSERT_TRUE(one.ok() && other.ok());
  const pid_t child = ::fork();
  if (child == 0) {
    std::memcpy(one->data() + kHugePageBytes, "hello", 6);
    ::_exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_STREQ(reinterpret_cast<const char*>(other->data()) + kHugePageBytes, "hello");
}

TEST(SharedMemoryTest, RefusesToMapBeyondTheEnd) {
  Result<SharedMemory> memory = SharedMemory::Create("test", 4096);
  ASSERT_TRUE(memory.ok());
  EXPECT_FALSE(SharedMapping::Map(*memory, 0, 4097, true).ok());
  EXPECT_FALSE(SharedMapping::Map(*memory, 8192, 1, true).ok());
}

TEST(SharedMemoryTest, HugePagesAreHadWhereTheKernelAllowsThem) {
  Result<SharedMemory> memory = SharedMemory::Create("test", 8 * kHugePageBytes);
  ASSERT_TRUE(memory.ok());
  const Result<SharedMapping> mapping =
      SharedMapping::Map(*memory, 0, memory->size(), true, SharedMapping::Pages::kHuge);
  ASSERT_TRUE(mapping.ok());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(mapping->data()) % kHugePageBytes, 0u);
  std::memset(mapping->data(), 1, mapping->size());
  if (!TransparentHugePagesAllowed()) {
    EXPECT_EQ(mapping->huge_pages(), HugePages::kNone);
    EXPECT_NE(HugePageAdvice(mapping->huge_pages()).find("shmem_enabled"), std::string::npos);
    GTEST_SKIP() << "shmem_enabled allows no huge pages here";
  }
  EXPECT_EQ(mapping->huge_pages(), HugePages::kTransparent);
  EXPECT_LE(mapping->HugeBytes(), mapping->size());
}

}  // namespace
}  // namespace phalanx
