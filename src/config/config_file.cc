#include "config/config_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>

#include "base/fd.h"

namespace phalanx {
namespace {

std::string Octal(unsigned mode) {
  char text[8];
  std::snprintf(text, sizeof text, "%04o", mode & 07777);
  return text;
}

Status CheckRegularFile(const std::string& path, const struct stat& file) {
  if (!S_ISREG(file.st_mode))
    return InvalidArgument("The input file: " + path + " is not a regular file or not exists");
  if (file.st_size == 0) return InvalidArgument("Read input file: " + path + " failed, file is empty");
  if (static_cast<size_t>(file.st_size) > kMaxConfigFileBytes) {
    return InvalidArgument("Read input file: " + path +
                           " failed, file is too large: " + std::to_string(file.st_size) +
                           " bytes; allowed: up to 10 MB (" + std::to_string(kMaxConfigFileBytes) + ")");
  }
  return Status::Ok();
}

}  // namespace

std::string PermissionWarning(const std::string& path, unsigned max_mode) {
  struct stat link_status;
  struct stat file;
  if (lstat(path.c_str(), &link_status) != 0 || stat(path.c_str(), &file) != 0) return "";
  std::string unusual;
  auto add = [&](const std::string& text) { unusual += (unusual.empty() ? "" : ", ") + text; };
  if (S_ISLNK(link_status.st_mode)) add("is a symbolic link");
  if ((file.st_mode & 07777 & ~max_mode) != 0)
    add("has mode " + Octal(file.st_mode) + " (recommended: " + Octal(max_mode) + ")");
  if (file.st_uid != geteuid() && geteuid() != 0) {
    add("is owned by user " + std::to_string(file.st_uid) + ", not by this process's user " +
        std::to_string(geteuid()));
  }
  return unusual.empty() ? "" : path + " " + unusual;
}

Result<std::string> ReadConfigFile(const std::string& path, bool check_permissions,
                                   std::vector<std::string>* warnings) {
  if (path.empty() || path.size() >= PATH_MAX) {
    return InvalidArgument("the path of config.json has " + std::to_string(path.size()) +
                           " characters; allowed: 1 to " + std::to_string(PATH_MAX - 1));
  }
  // O_NONBLOCK: opening a named pipe must not wait for a writer.
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.ok()) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return NotFound("The input file: " + path + " is not a regular file or not exists");
    }
    return ErrnoStatus("open " + path);
  }
  struct stat file;
  if (fstat(fd.get(), &file) != 0) return ErrnoStatus("stat " + path);
  RETURN_IF_ERROR(CheckRegularFile(path, file));

  constexpr unsigned kRecommendedMode = 0640;
  std::string unusual = check_permissions ? PermissionWarning(path, kRecommendedMode) : "";
  if (!unusual.empty()) warnings->push_back(unusual);

  std::string text(static_cast<size_t>(file.st_size), '\0');
  size_t size = 0;
  while (size < text.size()) {
    ssize_t count = read(fd.get(), text.data() + size, text.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus("read " + path);
    if (count == 0) break;
    size += static_cast<size_t>(count);
  }
  text.resize(size);
  return text;
}

}  // namespace phalanx
