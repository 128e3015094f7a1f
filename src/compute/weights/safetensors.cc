// Reads headers of untrusted files; see the rule in gguf.cc. JSON is parsed without exceptions and every value's type is
// asked before it is used.
#include "compute/weights/safetensors.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "compute/weights/hf_config.h"
#include "compute/weights/json_fields.h"

namespace phalanx {
namespace {

constexpr uint64_t kMaxHeaderBytes = uint64_t{256} << 20;
constexpr uint64_t kMaxElements = uint64_t{1} << 48;

struct DType {
  std::string_view name;
  uint64_t bytes;
  std::optional<WeightFormat> format;
};
constexpr DType kDTypes[] = {
    {"F32", 4, WeightFormat::kF32},
    {"F16", 2, WeightFormat::kF16},
    {"BF16", 2, WeightFormat::kBF16},
    {"F64", 8, {}},
    {"I64", 8, {}},
    {"U64", 8, {}},
    {"I32", 4, {}},
    {"U32", 4, {}},
    {"I16", 2, {}},
    {"U16", 2, {}},
    {"I8", 1, {}},
    {"U8", 1, {}},
    {"BOOL", 1, {}},
    {"F8_E4M3", 1, {}},
    {"F8_E5M2", 1, {}},
    {"F8_E8M0", 1, {}},
};

bool FileExists(const std::string& path) {
  struct stat info = {};
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

// A non-negative integer of a JSON value; none if it is anything else.
std::optional<uint64_t> Natural(const Json& value) {
  if (value.is_number_unsigned()) return value.get<uint64_t>();
  return std::nullopt;
}

class HuggingFaceCheckpoint : public Checkpoint {
 public:
  explicit HuggingFaceCheckpoint(std::string folder) : folder_(std::move(folder)) {}

  const std::string& path() const override { return folder_; }
  CheckpointSource source() const override { return CheckpointSource::kHuggingFace; }
  Result<ModelConfig> ReadConfig() const override { return ConfigFromHuggingFace(folder_, *this); }

  Status Open();

 private:
  Status FindFiles(std::vector<std::string>* files);
  Status ReadIndex(const std::string& index_path, std::vector<std::string>* files);
  Status ReadShard(const std::string& path, std::vector<CheckpointTensor>* tensors);
  Status CompareWithIndex() const;

  std::string folder_;
  std::vector<std::unique_ptr<MappedFile>> shards_;
  bool has_index_ = false;
  std::map<std::string, std::string> weight_map_;  // tensor -> file name, from the index
};

Status HuggingFaceCheckpoint::Open() {
  std::vector<std::string> files;
  RETURN_IF_ERROR(FindFiles(&files));
  std::vector<CheckpointTensor> tensors;
  for (const std::string& file : files) RETURN_IF_ERROR(ReadShard(folder_ + "/" + file, &tensors));
  RETURN_IF_ERROR(SetTensors(std::move(tensors)));
  return has_index_ ? CompareWithIndex() : Status::Ok();
}

Status HuggingFaceCheckpoint::FindFiles(std::vector<std::string>* files) {
  const std::string index = folder_ + "/model.safetensors.index.json";
  if (FileExists(index)) return ReadIndex(index, files);
  if (FileExists(folder_ + "/model.safetensors")) {
    files->push_back("model.safetensors");
    return Status::Ok();
  }
  DIR* dir = opendir(folder_.c_str());
  if (dir == nullptr) return ErrnoStatus("cannot list " + folder_);
  while (const dirent* entry = readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (name.ends_with(".safetensors")) files->emplace_back(name);
  }
  closedir(dir);
  if (files->empty()) return NotFound(folder_ + ": no model.safetensors, no model.safetensors.index.json");
  if (files->size() > 1) {
    return InvalidArgument(folder_ + ": " + std::to_string(files->size()) +
                           " *.safetensors files without a model.safetensors.index.json");
  }
  return Status::Ok();
}

Status HuggingFaceCheckpoint::ReadIndex(const std::string& index_path, std::vector<std::string>* files) {
  ASSIGN_OR_RETURN(const Json index, ReadJsonFile(index_path));
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    return InvalidArgument(index_path + ": no object 'weight_map'");
  }
  std::set<std::string> names;
  for (const auto& [tensor, shard] : index["weight_map"].items()) {
    if (!shard.is_string()) return InvalidArgument(index_path + ": tensor '" + tensor + "' names no file");
    const std::string name = shard.get<std::string>();
    if (name.empty() || name.find('/') != std::string::npos || name.find('\0') != std::string::npos) {
      return InvalidArgument(index_path + ": tensor '" + tensor + "': '" + name +
                             "' is not a file name of the folder");
    }
    names.insert(name);
    weight_map_[tensor] = name;
  }
  has_index_ = true;
  files->assign(names.begin(), names.end());
  return Status::Ok();
}

// One entry of a shard's header, checked; `offset` from the start of the data.
Status ReadEntry(const MappedFile& file, const std::string& name, const Json& entry, uint64_t data_bytes,
                 CheckpointTensor* tensor, uint64_t* offset) {
  const auto bad = [&](const std::string& reason) {
    return InvalidArgument(file.path() + ": tensor '" + name + "': " + reason);
  };
  if (!entry.is_object()) return bad("its entry is not an object");
  const auto dtype = entry.find("dtype"), shape = entry.find("shape"), offsets = entry.find("data_offsets");
  if (dtype == entry.end() || !dtype->is_string()) return bad("no 'dtype'");
  if (shape == entry.end() || !shape->is_array()) return bad("no 'shape'");
  if (offsets == entry.end() || !offsets->is_array() || offsets->size() != 2) return bad("no 'data_offsets'");

  tensor->name = name;
  tensor->type_name = dtype->get<std::string>();
  tensor->file = file.path();
  const auto* type = std::find_if(std::begin(kDTypes), std::end(kDTypes),
                                  [&](const DType& t) { return t.name == tensor->type_name; });
  if (type == std::end(kDTypes))
    return Unimplemented(file.path() + ": tensor '" + name + "' has unknown dtype '" + tensor->type_name +
                         "'");
  tensor->format = type->format;

  uint64_t elements = 1;
  for (const Json& dim_value : *shape) {
    const std::optional<uint64_t> dim = Natural(dim_value);
    if (!dim || *dim > kMaxElements || (*dim > 0 && elements > kMaxElements / *dim))
      return bad("a dimension is out of range");
    elements *= *dim;
    tensor->shape.push_back(static_cast<int64_t>(*dim));
  }
  const std::optional<uint64_t> begin = Natural((*offsets)[0]), end = Natural((*offsets)[1]);
  if (!begin || !end || *begin > *end || *end > data_bytes) {
    return bad("its data reach past the end of the file (truncated or damaged, " +
               std::to_string(file.size()) + " bytes)");
  }
  if (*end - *begin != elements * type->bytes) {
    return bad("shape " + ShapeString(tensor->shape) + " of " + tensor->type_name + " takes " +
               std::to_string(elements * type->bytes) + " bytes, but it has " +
               std::to_string(*end - *begin));
  }
  tensor->bytes = static_cast<size_t>(*end - *begin);
  *offset = *begin;
  return Status::Ok();
}

Status HuggingFaceCheckpoint::ReadShard(const std::string& path, std::vector<CheckpointTensor>* tensors) {
  ASSIGN_OR_RETURN(MappedFile opened, MappedFile::Open(path));
  shards_.push_back(std::make_unique<MappedFile>(std::move(opened)));
  const MappedFile& file = *shards_.back();
  uint64_t header_bytes = 0;
  if (file.size() < 8)
    return InvalidArgument(path + ": the file ends inside the header (truncated or damaged)");
  std::memcpy(&header_bytes, file.data(), 8);
  if (header_bytes > file.size() - 8 || header_bytes > kMaxHeaderBytes) {
    return InvalidArgument(path + ": a header of " + std::to_string(header_bytes) +
                           " bytes does not fit into a file of " + std::to_string(file.size()) +
                           " (truncated, damaged, or not safetensors)");
  }
  const Result<Json> parsed = ParseJson({reinterpret_cast<const char*>(file.data() + 8), header_bytes});
  if (!parsed.ok()) return InvalidArgument(path + ": its header is damaged: " + parsed.status().message());
  const Json& header = *parsed;
  if (!header.is_object()) return InvalidArgument(path + ": its header is not a JSON object");

  const std::byte* data = file.data() + 8 + header_bytes;
  const uint64_t data_bytes = file.size() - 8 - header_bytes;
  std::vector<std::pair<uint64_t, size_t>> placed;  // offset, index
  const size_t first = tensors->size();
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    CheckpointTensor tensor;
    uint64_t offset = 0;
    RETURN_IF_ERROR(ReadEntry(file, name, entry, data_bytes, &tensor, &offset));
    tensor.data = data + offset;
    placed.emplace_back(offset, tensors->size());
    tensors->push_back(std::move(tensor));
  }
  std::sort(placed.begin(), placed.end());
  for (size_t i = 1; i < placed.size(); ++i) {
    const CheckpointTensor &a = (*tensors)[placed[i - 1].second], &b = (*tensors)[placed[i].second];
    if (placed[i - 1].first + a.bytes > placed[i].first) {
      return InvalidArgument(path + ": tensors '" + a.name + "' and '" + b.name + "' overlap");
    }
  }
  if (tensors->size() == first) return InvalidArgument(path + ": it holds no tensors");
  return Status::Ok();
}

Status HuggingFaceCheckpoint::CompareWithIndex() const {
  for (const auto& [name, file] : weight_map_) {
    const CheckpointTensor* tensor = Find(name);
    if (tensor == nullptr || tensor->file != folder_ + "/" + file) {
      return InvalidArgument(folder_ + "/" + file + ": tensor '" + name +
                             "' is missing, the index says it is there");
    }
  }
  for (const CheckpointTensor& tensor : tensors()) {
    if (!weight_map_.contains(tensor.name)) {
      return InvalidArgument(std::string(tensor.file) + ": tensor '" + tensor.name + "' is not in the index");
    }
  }
  return Status::Ok();
}

}  // namespace

Result<std::unique_ptr<Checkpoint>> OpenHuggingFaceCheckpoint(const std::string& folder) {
  auto checkpoint = std::make_unique<HuggingFaceCheckpoint>(folder);
  RETURN_IF_ERROR(checkpoint->Open());
  return std::unique_ptr<Checkpoint>(std::move(checkpoint));
}

}  // namespace phalanx
