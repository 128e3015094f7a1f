#include "config/model_path.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "config/config_file.h"

namespace phalanx {
namespace {

namespace fs = std::filesystem;

constexpr char kExpected[] =
    "expected a Hugging Face folder (config.json and *.safetensors), a folder with one .gguf file, or a "
    ".gguf file";

// Names in the folder, in order, that end in `ending`.
Result<std::vector<std::string>> NamesEndingIn(const fs::path& folder, const std::string& ending) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::string name = entry->path().filename().string();
    if (name.ends_with(ending)) names.push_back(name);
  }
  if (error) return Internal("modelWeightPath: can't list " + folder.string() + ": " + error.message());
  std::sort(names.begin(), names.end());
  return names;
}

std::string Joined(const std::vector<std::string>& names) {
  constexpr size_t kMaxNamed = 8;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kMaxNamed); ++i) text += (i > 0 ? ", " : "") + names[i];
  if (names.size() > kMaxNamed) text += ", and " + std::to_string(names.size() - kMaxNamed) + " more";
  return text;
}

Result<ModelPath> ResolveFolder(const fs::path& folder) {
  ASSIGN_OR_RETURN(auto safetensors, NamesEndingIn(folder, ".safetensors"));
  ASSIGN_OR_RETURN(auto ggufs, NamesEndingIn(folder, ".gguf"));
  std::error_code ignored;
  const bool has_config = fs::is_regular_file(folder / "config.json", ignored);
  const std::string where = "modelWeightPath: " + folder.string();
  if (has_config && !safetensors.empty()) return ModelPath{CheckpointKind::kHuggingFace, folder.string()};
  if (ggufs.size() == 1) return ModelPath{CheckpointKind::kGguf, (folder / ggufs.front()).string()};
  if (ggufs.size() > 1) {
    return InvalidArgument(where + " holds " + std::to_string(ggufs.size()) + " .gguf files (" +
                           Joined(ggufs) + "); name the one to serve");
  }
  if (!safetensors.empty())
    return InvalidArgument(where + " holds " + Joined(safetensors) + " but no config.json; " + kExpected);
  if (has_config) return InvalidArgument(where + " holds config.json but no *.safetensors; " + kExpected);
  return InvalidArgument(where + " holds no model; " + kExpected);
}

}  // namespace

Result<ModelPath> ResolveModelPath(const std::string& model_weight_path) {
  if (model_weight_path.empty())
    return InvalidArgument(std::string("modelWeightPath: found nothing; ") + kExpected);
  fs::path path = fs::path(model_weight_path).lexically_normal();
  std::error_code error;
  fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    return NotFound("modelWeightPath: " + model_weight_path + " does not exist; " + kExpected);
  }
  if (error) return Internal("modelWeightPath: can't look at " + model_weight_path + ": " + error.message());
  if (fs::is_directory(status)) return ResolveFolder(path);
  if (fs::is_regular_file(status) && path.extension() == ".gguf")
    return ModelPath{CheckpointKind::kGguf, path.string()};
  return InvalidArgument("modelWeightPath: " + model_weight_path + " is neither a folder nor a .gguf file; " +
                         kExpected);
}

std::string ModelPathWarning(const ServeConfig& config) {
  if (!config.environment.check_inputfiles_permission) return "";
  constexpr unsigned kRecommendedMode = 0750;
  std::string unusual = PermissionWarning(config.model.model_weight_path, kRecommendedMode);
  return unusual.empty() ? "" : "modelWeightPath: " + unusual;
}

}  // namespace phalanx
