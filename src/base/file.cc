#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <utility>

namespace phalanx {

Result<UniqueFd> OpenForReading(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.ok()) return fd;
  if (errno == ENOENT || errno == ENOTDIR) return NotFound("no such file: " + path);
  return ErrnoStatus("cannot open " + path);
}

Result<MappedFile> MappedFile::Open(const std::string& path) {
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenForReading(path));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return ErrnoStatus("cannot stat " + path);
  if (S_ISDIR(info.st_mode)) return InvalidArgument("expected a file, found a directory: " + path);
  MappedFile file;
  file.path_ = path;
  file.size_ = static_cast<size_t>(info.st_size);
  if (file.size_ == 0) return file;
  void* data = ::mmap(nullptr, file.size_, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (data == MAP_FAILED) {
    file.size_ = 0;
    return ErrnoStatus("cannot map " + path);
  }
  file.data_ = static_cast<const std::byte*>(data);
  return file;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Result<std::string> ReadFile(const std::string& path, size_t max_bytes) {
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenForReading(path));
  std::string content;
  char buffer[1 << 16];
  while (true) {
    const ssize_t got = ::read(fd.get(), buffer, sizeof(buffer));
    if (got == 0) return content;
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == EISDIR) return InvalidArgument("expected a file, found a directory: " + path);
      return ErrnoStatus("cannot read " + path);
    }
    if (content.size() + static_cast<size_t>(got) > max_bytes) {
      return ResourceExhausted(path + " has more than " + std::to_string(max_bytes) + " bytes");
    }
    content.append(buffer, static_cast<size_t>(got));
  }
}

Status WriteFile(const std::string& path, std::string_view content) {
  const std::string temporary = path + ".tmp" + std::to_string(::getpid());
  UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.ok()) return ErrnoStatus("cannot create " + temporary);
  while (!content.empty()) {
    const ssize_t written = ::write(fd.get(), content.data(), content.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      const Status status = ErrnoStatus("cannot write " + temporary);
      ::unlink(temporary.c_str());
      return status;
    }
    content.remove_prefix(static_cast<size_t>(written));
  }
  fd.Reset();
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const Status status = ErrnoStatus("cannot rename " + temporary + " to " + path);
    ::unlink(temporary.c_str());
    return status;
  }
  return Status::Ok();
}

}  // namespace phalanx
