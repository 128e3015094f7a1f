#include "compute/weights/checkpoint.h"

#include <sys/stat.h>

#include <algorithm>

#include "compute/weights/gguf.h"
#include "compute/weights/safetensors.h"

namespace phalanx {

std::string ShapeString(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

const CheckpointTensor* Checkpoint::Find(std::string_view name) const {
  auto it = std::lower_bound(tensors_.begin(), tensors_.end(), name,
                             [](const CheckpointTensor& t, std::string_view n) { return t.name < n; });
  return it != tensors_.end() && it->name == name ? &*it : nullptr;
}

Status Checkpoint::SetTensors(std::vector<CheckpointTensor> tensors) {
  tensors_ = std::move(tensors);
  std::sort(tensors_.begin(), tensors_.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  for (size_t i = 1; i < tensors_.size(); ++i) {
    const CheckpointTensor &a = tensors_[i - 1], &b = tensors_[i];
    if (a.name != b.name) continue;
    if (a.file == b.file) {
      return InvalidArgument(std::string(a.file) + ": tensor '" + a.name + "' occurs twice");
    }
    return InvalidArgument("tensor '" + a.name + "' occurs in two files: " + std::string(a.file) + " and " +
                           std::string(b.file));
  }
  return Status::Ok();
}

Result<std::unique_ptr<Checkpoint>> OpenCheckpoint(const std::string& path) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) return NotFound(path + ": no such file or directory");
  if (S_ISDIR(info.st_mode)) return OpenHuggingFaceCheckpoint(path);
  return OpenGgufCheckpoint(path);
}

}  // namespace phalanx
