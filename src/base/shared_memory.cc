#include "base/shared_memory.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <charconv>
#include <cstdint>
#include <utility>

#include "base/check.h"
#include "base/file.h"

namespace phalanx {
namespace {

constexpr char kShmemEnabled[] = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
constexpr char kFreeHugePages[] = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
constexpr long kHugetlbfsMagic = 0x958458f6;

size_t FreeReservedBytes() {
  const Result<std::string> text = ReadFile(kFreeHugePages, 64);
  size_t pages = 0;
  if (text.ok()) std::from_chars(text->data(), text->data() + text->size(), pages);
  return pages * kHugePageBytes;
}

// Maps at an address aligned to huge pages, so that the kernel can use them.
void* MapAligned(int fd, size_t offset, size_t bytes, int protection) {
  if (bytes < kHugePageBytes)
    return ::mmap(nullptr, bytes, protection, MAP_SHARED, fd, static_cast<off_t>(offset));
  const size_t room = bytes + kHugePageBytes;
  void* const reserved = ::mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return MAP_FAILED;
  const auto start = reinterpret_cast<uintptr_t>(reserved);
  const uintptr_t aligned = RoundUp(start, kHugePageBytes);
  void* const mapped = ::mmap(reinterpret_cast<void*>(aligned), bytes, protection, MAP_SHARED | MAP_FIXED, fd,
                              static_cast<off_t>(offset));
  if (mapped == MAP_FAILED) {
    ::munmap(reserved, room);
    return MAP_FAILED;
  }
  const uintptr_t end = RoundUp(aligned + bytes, 4096);
  if (aligned > start) ::munmap(reserved, aligned - start);
  if (end < start + room) ::munmap(reinterpret_cast<void*>(end), start + room - end);
  return mapped;
}

}  // namespace

Result<SharedMemory> SharedMemory::Create(std::string_view name, size_t bytes, bool try_reserved) {
  const std::string text(name);
  SharedMemory memory;
  if (try_reserved && bytes > 0 && FreeReservedBytes() >= RoundUp(bytes, kHugePageBytes)) {
    memory.fd_ = UniqueFd(::memfd_create(text.c_str(), MFD_CLOEXEC | MFD_HUGETLB));
    const size_t rounded = RoundUp(bytes, kHugePageBytes);
    // Allocating now turns a race for the pool into a failure that we can answer with ordinary pages.
    if (memory.fd_.ok() && ::ftruncate(memory.fd_.get(), static_cast<off_t>(rounded)) == 0 &&
        ::fallocate(memory.fd_.get(), 0, 0, static_cast<off_t>(rounded)) == 0) {
      memory.size_ = rounded;
      memory.reserved_huge_pages_ = true;
      return memory;
    }
  }
  memory.fd_ = UniqueFd(::memfd_create(text.c_str(), MFD_CLOEXEC));
  if (!memory.fd_.ok()) return ErrnoStatus("cannot create the shared segment " + text);
  RETURN_IF_ERROR(memory.Resize(bytes));
  return memory;
}

Result<SharedMemory> SharedMemory::Adopt(UniqueFd fd) {
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return ErrnoStatus("cannot adopt a shared segment");
  struct statfs file_system {};
  SharedMemory memory;
  memory.reserved_huge_pages_ =
      ::fstatfs(fd.get(), &file_system) == 0 && file_system.f_type == kHugetlbfsMagic;
  memory.size_ = static_cast<size_t>(info.st_size);
  memory.fd_ = std::move(fd);
  return memory;
}

Status SharedMemory::Resize(size_t bytes) {
  CHECK(bytes >= size_);
  if (::ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) {
    return ErrnoStatus("cannot give a shared segment " + std::to_string(bytes) + " bytes");
  }
  size_ = bytes;
  return Status::Ok();
}

Status SharedMemory::Punch(size_t offset, size_t bytes) {
  if (::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                  static_cast<off_t>(bytes)) != 0) {
    return ErrnoStatus("cannot give back memory of a shared segment");
  }
  return Status::Ok();
}

Result<SharedMapping> SharedMapping::Map(const SharedMemory& memory, size_t offset, size_t bytes,
                                         bool writable, Pages pages) {
  if (bytes > memory.size() || offset > memory.size() - bytes) {
    return Internal("a shared segment of " + std::to_string(memory.size()) + " bytes does not hold " +
                    std::to_string(bytes) + " bytes at " + std::to_string(offset));
  }
  SharedMapping mapping;
  if (bytes == 0) return mapping;
  const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  const size_t mapped_bytes = memory.reserved_huge_pages() ? RoundUp(bytes, kHugePageBytes) : bytes;
  void* const data = MapAligned(memory.fd(), offset, mapped_bytes, protection);
  if (data == MAP_FAILED)
    return ErrnoStatus("cannot map " + std::to_string(bytes) + " bytes of shared memory");
  mapping.data_ = static_cast<std::byte*>(data);
  mapping.size_ = mapped_bytes;
  if (memory.reserved_huge_pages()) {
    mapping.huge_pages_ = HugePages::kReserved;
  } else if (pages == Pages::kHuge && bytes >= kHugePageBytes && TransparentHugePagesAllowed() &&
             ::madvise(data, bytes, MADV_HUGEPAGE) == 0) {
    mapping.huge_pages_ = HugePages::kTransparent;
  }
  return mapping;
}

SharedMapping::~SharedMapping() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

SharedMapping::SharedMapping(SharedMapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      huge_pages_(other.huge_pages_) {}

SharedMapping& SharedMapping::operator=(SharedMapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(huge_pages_, other.huge_pages_);
  return *this;
}

Status SharedMapping::ProtectReadOnly() {
  if (data_ != nullptr && ::mprotect(data_, size_, PROT_READ) != 0) {
    return ErrnoStatus("cannot make a mapping read-only");
  }
  return Status::Ok();
}

size_t SharedMapping::HugeBytes() const {
  if (data_ == nullptr) return 0;
  if (huge_pages_ == HugePages::kReserved) return size_;
  const Result<std::string> smaps = ReadFile("/proc/self/smaps", size_t{64} << 20);
  if (!smaps.ok()) return 0;
  char start[32];
  const auto end = std::to_chars(start, start + sizeof(start), reinterpret_cast<uintptr_t>(data_), 16);
  const size_t entry = smaps->find("\n" + std::string(start, end.ptr) + "-");
  if (entry == std::string::npos) return 0;
  constexpr std::string_view kField = "ShmemPmdMapped:";
  const size_t field = smaps->find(kField, entry);
  const size_t flags = smaps->find("VmFlags:", entry);
  if (field == std::string::npos || field > flags) return 0;
  const size_t digits = smaps->find_first_not_of(' ', field + kField.size());
  size_t kilobytes = 0;
  std::from_chars(smaps->data() + digits, smaps->data() + smaps->size(), kilobytes);
  return kilobytes << 10;
}

bool TransparentHugePagesAllowed() {
  static const bool allowed = [] {
    const Result<std::string> text = ReadFile(kShmemEnabled, 256);
    return text.ok() && text->find("[never]") == std::string::npos &&
           text->find("[deny]") == std::string::npos;
  }();
  return allowed;
}

std::string HugePageAdvice(HugePages had) {
  switch (had) {
    case HugePages::kReserved:
      return "huge pages from the reserved pool";
    case HugePages::kTransparent:
      return "transparent huge pages";
    case HugePages::kNone:
      break;
  }
  return std::string("ordinary pages (for huge ones, worth a few per cent of decode: echo advise > ") +
         kShmemEnabled + ")";
}

}  // namespace phalanx
