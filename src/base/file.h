#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/status.h"

namespace phalanx {

// A whole file, mapped read-only until this goes. An empty file maps as no bytes. Movable; any thread may
// read.
class MappedFile {
 public:
  // NotFound if there is no such file, InvalidArgument if it is a directory, Internal with the system's
  // reason otherwise.
  static Result<MappedFile> Open(const std::string& path);

  MappedFile() = default;
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const std::string& path() const { return path_; }
  size_t size() const { return size_; }
  const std::byte* data() const { return data_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// The file's content. ResourceExhausted if it has more than `max_bytes`; otherwise errors as
// MappedFile::Open. Reads files without a size (/proc) as well.
Result<std::string> ReadFile(const std::string& path, size_t max_bytes = size_t{1} << 30);

// Replaces the file's content, by way of a temporary file beside it, so that a reader never sees half of it.
Status WriteFile(const std::string& path, std::string_view content);

// Opens for reading, close-on-exec; errors as MappedFile::Open.
Result<UniqueFd> OpenForReading(const std::string& path);

}  // namespace phalanx
