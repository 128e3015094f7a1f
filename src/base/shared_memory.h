#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/status.h"

namespace phalanx {

// Whether and how a segment got pages of 2 MiB.
enum class HugePages {
  kNone,         // ordinary pages
  kTransparent,  // asked for with MADV_HUGEPAGE, which the kernel's shmem_enabled allows
  kReserved,     // from the pool in vm.nr_hugepages
};

inline constexpr size_t kHugePageBytes = size_t{2} << 20;

// An anonymous shared segment (memfd): exists as long as a descriptor or mapping of it does, has no name in
// the file system, and leaves nothing behind. Pages take memory only once they are written.
class SharedMemory {
 public:
  // `name` shows in /proc/<pid>/maps only. `bytes` may be 0 and grow by Resize. With `try_reserved` the pages
  // come from the reserved pool if it has enough free ones (the size is then rounded up to whole huge pages).
  static Result<SharedMemory> Create(std::string_view name, size_t bytes, bool try_reserved = false);
  // A segment from another process, by a descriptor of it.
  static Result<SharedMemory> Adopt(UniqueFd fd);

  SharedMemory() = default;

  int fd() const { return fd_.get(); }
  size_t size() const { return size_; }
  bool reserved_huge_pages() const { return reserved_huge_pages_; }
  // Requires: `bytes` is at least the present size.
  Status Resize(size_t bytes);
  // Gives bytes [offset, offset + bytes) back to the system; they read as zeros again.
  Status Punch(size_t offset, size_t bytes);

 private:
  UniqueFd fd_;
  size_t size_ = 0;
  bool reserved_huge_pages_ = false;
};

// A part of a segment as this process sees it. Unmapped when it goes; outlives the SharedMemory.
class SharedMapping {
 public:
  // kHuge asks for huge pages where that can succeed: for what is read from end to end, not for what is
  // touched here and there, since each touch then takes 2 MiB.
  enum class Pages { kOrdinary, kHuge };
  // `offset` must be a multiple of the page size, and of 2 MiB for huge pages to be had.
  static Result<SharedMapping> Map(const SharedMemory& memory, size_t offset, size_t bytes, bool writable,
                                   Pages pages = Pages::kOrdinary);

  SharedMapping() = default;
  ~SharedMapping();
  SharedMapping(SharedMapping&& other) noexcept;
  SharedMapping& operator=(SharedMapping&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<std::byte> bytes() const { return {data_, size_}; }
  HugePages huge_pages() const { return huge_pages_; }
  // Bytes of this mapping that lie in huge pages now, by the kernel's account (/proc/self/smaps); 0 if
  // unknown.
  size_t HugeBytes() const;
  // Takes away the permission to write.
  Status ProtectReadOnly();

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  HugePages huge_pages_ = HugePages::kNone;
};

// Whether the kernel gives transparent huge pages to shared memory that asks for them.
bool TransparentHugePagesAllowed();
// One line for the start-up report: what was had, and if nothing, the command that would give it.
std::string HugePageAdvice(HugePages had);

// `bytes` rounded up to a multiple of `unit`.
constexpr size_t RoundUp(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace phalanx
