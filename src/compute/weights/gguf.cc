// Reads the header of an untrusted file. The one rule: ByteReader never steps past the end, and no count from the file
// sizes an allocation before it is known to fit into the bytes that are left.
#include "compute/weights/gguf.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "base/file.h"
#include "compute/weights/gguf_config.h"

namespace phalanx {
namespace {

constexpr uint32_t kTypeString = 8;
constexpr uint32_t kTypeArray = 9;
constexpr int kMaxArrayDepth = 4;
constexpr uint64_t kMaxElements = uint64_t{1} << 48;

// Bytes of the metadata's scalar types 0 ... 12; 0: not a scalar.
constexpr uint8_t kScalarBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

struct GgmlType {
  uint32_t id;
  std::string_view name;
  uint32_t block;
  uint32_t bytes;
  std::optional<WeightFormat> format;
};
constexpr GgmlType kGgmlTypes[] = {
    {0, "F32", 1, 4, WeightFormat::kF32},
    {1, "F16", 1, 2, WeightFormat::kF16},
    {2, "Q4_0", 32, 18, WeightFormat::kQ4_0},
    {3, "Q4_1", 32, 20, WeightFormat::kQ4_1},
    {6, "Q5_0", 32, 22, {}},
    {7, "Q5_1", 32, 24, {}},
    {8, "Q8_0", 32, 34, WeightFormat::kQ8_0},
    {9, "Q8_1", 32, 36, {}},
    {10, "Q2_K", 256, 84, {}},
    {11, "Q3_K", 256, 110, {}},
    {12, "Q4_K", 256, 144, {}},
    {13, "Q5_K", 256, 176, {}},
    {14, "Q6_K", 256, 210, {}},
    {15, "Q8_K", 256, 292, {}},
    {16, "IQ2_XXS", 256, 66, {}},
    {17, "IQ2_XS", 256, 74, {}},
    {18, "IQ3_XXS", 256, 98, {}},
    {19, "IQ1_S", 256, 50, {}},
    {20, "IQ4_NL", 32, 18, {}},
    {21, "IQ3_S", 256, 110, {}},
    {22, "IQ2_S", 256, 82, {}},
    {23, "IQ4_XS", 256, 136, {}},
    {24, "I8", 1, 1, {}},
    {25, "I16", 1, 2, {}},
    {26, "I32", 1, 4, {}},
    {27, "I64", 1, 8, {}},
    {28, "F64", 1, 8, {}},
    {29, "IQ1_M", 256, 56, {}},
    {30, "BF16", 1, 2, WeightFormat::kBF16},
    {34, "TQ1_0", 256, 54, {}},
    {35, "TQ2_0", 256, 66, {}},
};
constexpr std::string_view kRemovedTypes[] = {"Q4_2",     "Q4_3",       "Q4_0_4_4",   "Q4_0_4_8",
                                              "Q4_0_8_8", "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8"};
constexpr uint32_t kRemovedIds[] = {4, 5, 31, 32, 33, 36, 37, 38};

class ByteReader {
 public:
  ByteReader(const std::byte* data, size_t size) : begin_(data), at_(data), left_(size) {}

  const std::byte* at() const { return at_; }
  size_t left() const { return left_; }
  size_t offset() const { return static_cast<size_t>(at_ - begin_); }

  bool Skip(uint64_t bytes) {
    if (bytes > left_) return false;
    at_ += bytes;
    left_ -= static_cast<size_t>(bytes);
    return true;
  }
  template <class T>
  bool Read(T* value) {
    if (left_ < sizeof(T)) return false;
    std::memcpy(value, at_, sizeof(T));
    return Skip(sizeof(T));
  }
  bool ReadString(std::string_view* text) {
    uint64_t length = 0;
    if (!Read(&length) || length > left_) return false;
    *text = {reinterpret_cast<const char*>(at_), static_cast<size_t>(length)};
    return Skip(length);
  }

 private:
  const std::byte* begin_;
  const std::byte* at_;
  size_t left_;
};

// Text of the file for a message: short and printable.
std::string Shown(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, 64)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return text.size() > 64 ? out + "..." : out;
}

class GgufCheckpoint : public Checkpoint {
 public:
  explicit GgufCheckpoint(MappedFile file) : file_(std::move(file)) {}

  const std::string& path() const override { return file_.path(); }
  CheckpointSource source() const override { return CheckpointSource::kGguf; }
  Result<ModelConfig> ReadConfig() const override { return ConfigFromGguf(path(), metadata_, *this); }

  Status Parse();

 private:
  Status Bad(const std::string& reason) const { return InvalidArgument(path() + ": " + reason); }
  Status Truncated(const std::string& where) const {
    return Bad("the file ends inside " + where + " (truncated or damaged, " + std::to_string(file_.size()) +
               " bytes)");
  }
  Status ReadMetadata(ByteReader& reader, uint64_t count);
  Status ReadValue(ByteReader& reader, const std::string& key, GgufValue* value) const;
  Status ReadScalar(ByteReader& reader, uint32_t type, const std::string& key, GgufValue* value) const;
  Status SkipArray(ByteReader& reader, const std::string& key, int depth, GgufArray* array) const;
  Status ReadTensors(ByteReader& reader, uint64_t count, std::vector<CheckpointTensor>* tensors,
                     std::vector<uint64_t>* offsets) const;
  Status ReadTensor(ByteReader& reader, CheckpointTensor* tensor, uint64_t* offset) const;
  Status PlaceTensors(uint64_t data_begin, uint64_t alignment, std::vector<CheckpointTensor>& tensors,
                      const std::vector<uint64_t>& offsets) const;

  MappedFile file_;
  GgufMetadata metadata_;
};

Status GgufCheckpoint::Parse() {
  ByteReader reader(file_.data(), file_.size());
  uint32_t magic = 0, version = 0;
  uint64_t num_tensors = 0, num_values = 0;
  if (!reader.Read(&magic)) return Truncated("the header");
  if (std::memcmp(&magic, "GGUF", 4) != 0) return Bad("not a GGUF file (it does not begin with 'GGUF')");
  if (!reader.Read(&version)) return Truncated("the header");
  if (version != 2 && version != 3) {
    if (version == 0x02000000 || version == 0x03000000) {
      return Unimplemented(path() + ": big-endian GGUF files can't be read");
    }
    return Unimplemented(path() + ": GGUF version " + std::to_string(version) +
                         "; versions 2 and 3 can be read");
  }
  if (!reader.Read(&num_tensors) || !reader.Read(&num_values)) return Truncated("the header");
  RETURN_IF_ERROR(ReadMetadata(reader, num_values));

  std::vector<CheckpointTensor> tensors;
  std::vector<uint64_t> offsets;
  RETURN_IF_ERROR(ReadTensors(reader, num_tensors, &tensors, &offsets));

  int64_t alignment = 32;
  if (auto it = metadata_.find("general.alignment"); it != metadata_.end()) {
    const int64_t* given = std::get_if<int64_t>(&it->second);
    if (given == nullptr || *given < 1 || *given > (1 << 30) || (*given & (*given - 1)) != 0) {
      return Bad("general.alignment must be a power of two");
    }
    alignment = *given;
  }
  const uint64_t unit = static_cast<uint64_t>(alignment);
  const uint64_t data_begin = (reader.offset() + unit - 1) / unit * unit;
  RETURN_IF_ERROR(PlaceTensors(data_begin, unit, tensors, offsets));
  return SetTensors(std::move(tensors));
}

Status GgufCheckpoint::ReadMetadata(ByteReader& reader, uint64_t count) {
  if (count > reader.left() / 13) {  // key length, type and one byte of value at least
    return Bad("the header counts " + std::to_string(count) +
               " metadata entries, more than the file can hold");
  }
  for (uint64_t i = 0; i < count; ++i) {
    std::string_view key;
    if (!reader.ReadString(&key)) return Truncated("metadata entry " + std::to_string(i));
    GgufValue value;
    RETURN_IF_ERROR(ReadValue(reader, "metadata '" + Shown(key) + "'", &value));
    if (!metadata_.emplace(std::string(key), value).second) {
      return Bad("metadata '" + Shown(key) + "' occurs twice");
    }
  }
  return Status::Ok();
}

Status GgufCheckpoint::ReadValue(ByteReader& reader, const std::string& key, GgufValue* value) const {
  uint32_t type = 0;
  if (!reader.Read(&type)) return Truncated(key);
  if (type == kTypeString) {
    std::string_view text;
    if (!reader.ReadString(&text)) return Truncated(key);
    *value = text;
    return Status::Ok();
  }
  if (type == kTypeArray) {
    GgufArray array;
    RETURN_IF_ERROR(SkipArray(reader, key, 1, &array));
    *value = array;
    return Status::Ok();
  }
  return ReadScalar(reader, type, key, value);
}

template <class T>
bool ReadInteger(ByteReader& reader, GgufValue* value) {
  T number = 0;
  if (!reader.Read(&number)) return false;
  *value = static_cast<int64_t>(number);
  return true;
}

Status GgufCheckpoint::ReadScalar(ByteReader& reader, uint32_t type, const std::string& key,
                                  GgufValue* value) const {
  bool read = false;
  uint64_t wide = 0;
  float single = 0;
  double number = 0;
  switch (type) {
    case 0:
    case 7:
      read = ReadInteger<uint8_t>(reader, value);
      break;
    case 1:
      read = ReadInteger<int8_t>(reader, value);
      break;
    case 2:
      read = ReadInteger<uint16_t>(reader, value);
      break;
    case 3:
      read = ReadInteger<int16_t>(reader, value);
      break;
    case 4:
      read = ReadInteger<uint32_t>(reader, value);
      break;
    case 5:
      read = ReadInteger<int32_t>(reader, value);
      break;
    case 6:
      read = reader.Read(&single);
      *value = static_cast<double>(single);
      break;
    case 10:
      read = reader.Read(&wide);
      if (wide > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return Bad(key + ": " + std::to_string(wide) + " is out of range");
      }
      *value = static_cast<int64_t>(wide);
      break;
    case 11:
      read = ReadInteger<int64_t>(reader, value);
      break;
    case 12:
      read = reader.Read(&number);
      *value = number;
      break;
    default:
      return Bad(key + ": unknown value type " + std::to_string(type));
  }
  return read ? Status::Ok() : Truncated(key);
}

Status GgufCheckpoint::SkipArray(ByteReader& reader, const std::string& key, int depth,
                                 GgufArray* array) const {
  if (!reader.Read(&array->element_type) || !reader.Read(&array->count)) return Truncated(key);
  array->data = reader.at();
  const uint32_t type = array->element_type;
  if (type == kTypeString || type == kTypeArray) {
    if (type == kTypeArray && depth >= kMaxArrayDepth) return Bad(key + ": arrays are nested too deeply");
    if (array->count > reader.left() / 8) return Truncated(key);
    for (uint64_t i = 0; i < array->count; ++i) {
      std::string_view text;
      GgufArray inner;
      if (type == kTypeArray) {
        RETURN_IF_ERROR(SkipArray(reader, key, depth + 1, &inner));
      } else if (!reader.ReadString(&text)) {
        return Truncated(key);
      }
    }
    return Status::Ok();
  }
  if (type >= std::size(kScalarBytes)) {
    return Bad(key + ": unknown array element type " + std::to_string(type));
  }
  if (array->count > reader.left() / kScalarBytes[type]) return Truncated(key);
  reader.Skip(array->count * kScalarBytes[type]);
  return Status::Ok();
}

Status GgufCheckpoint::ReadTensors(ByteReader& reader, uint64_t count, std::vector<CheckpointTensor>* tensors,
                                   std::vector<uint64_t>* offsets) const {
  if (count > reader.left() / 24) {  // name length, n_dims, type, offset
    return Bad("the header counts " + std::to_string(count) + " tensors, more than the file can hold");
  }
  for (uint64_t i = 0; i < count; ++i) {
    CheckpointTensor tensor;
    uint64_t offset = 0;
    RETURN_IF_ERROR(ReadTensor(reader, &tensor, &offset));
    tensors->push_back(std::move(tensor));
    offsets->push_back(offset);
  }
  return Status::Ok();
}

Status GgufCheckpoint::ReadTensor(ByteReader& reader, CheckpointTensor* tensor, uint64_t* offset) const {
  std::string_view name;
  uint32_t num_dims = 0, type_id = 0;
  if (!reader.ReadString(&name)) return Truncated("the table of tensors");
  const std::string shown = "tensor '" + Shown(name) + "'";
  if (!reader.Read(&num_dims)) return Truncated(shown);
  if (num_dims < 1 || num_dims > 4)
    return Bad(shown + ": " + std::to_string(num_dims) + " dimensions; 1 to 4 are allowed");
  uint64_t elements = 1;
  for (uint32_t d = 0; d < num_dims; ++d) {
    uint64_t dim = 0;
    if (!reader.Read(&dim)) return Truncated(shown);
    if (dim == 0 || dim > kMaxElements / elements)
      return Bad(shown + ": dimension " + std::to_string(dim) + " is out of range");
    elements *= dim;
    tensor->shape.insert(tensor->shape.begin(), static_cast<int64_t>(dim));
  }
  if (!reader.Read(&type_id) || !reader.Read(offset)) return Truncated(shown);

  for (size_t i = 0; i < std::size(kRemovedIds); ++i) {
    if (kRemovedIds[i] == type_id) {
      return Unimplemented(path() + ": " + shown + " has type " + std::string(kRemovedTypes[i]) +
                           ", which GGUF has given up");
    }
  }
  const auto* type = std::find_if(std::begin(kGgmlTypes), std::end(kGgmlTypes),
                                  [type_id](const GgmlType& t) { return t.id == type_id; });
  if (type == std::end(kGgmlTypes)) return Bad(shown + ": unknown type " + std::to_string(type_id));
  const uint64_t row = static_cast<uint64_t>(tensor->shape.back());
  if (row % type->block != 0) {
    return Bad(shown + ": its rows of " + std::to_string(row) + " are not whole blocks of " +
               std::string(type->name));
  }
  tensor->name = std::string(name);
  tensor->type_name = std::string(type->name);
  tensor->format = type->format;
  tensor->file = file_.path();
  tensor->bytes = static_cast<size_t>(elements / type->block * type->bytes);
  return Status::Ok();
}

Status GgufCheckpoint::PlaceTensors(uint64_t data_begin, uint64_t alignment,
                                    std::vector<CheckpointTensor>& tensors,
                                    const std::vector<uint64_t>& offsets) const {
  const uint64_t size = file_.size();
  const uint64_t data_bytes = data_begin < size ? size - data_begin : 0;
  std::vector<size_t> order(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    order[i] = i;
    const std::string shown = "tensor '" + Shown(tensors[i].name) + "'";
    if (offsets[i] % alignment != 0) {
      return Bad(shown + ": its offset " + std::to_string(offsets[i]) +
                 " is not a multiple of the alignment " + std::to_string(alignment));
    }
    if (offsets[i] > data_bytes || tensors[i].bytes > data_bytes - offsets[i]) {
      return Bad(shown + ": its " + std::to_string(tensors[i].bytes) + " bytes at offset " +
                 std::to_string(offsets[i]) + " reach past the end of the file (truncated or damaged, " +
                 std::to_string(size) + " bytes)");
    }
    tensors[i].data = file_.data() + data_begin + offsets[i];
  }
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return offsets[a] < offsets[b]; });
  for (size_t i = 1; i < order.size(); ++i) {
    const size_t before = order[i - 1], after = order[i];
    if (offsets[before] + tensors[before].bytes > offsets[after]) {
      return Bad("tensors '" + Shown(tensors[before].name) + "' and '" + Shown(tensors[after].name) +
                 "' overlap");
    }
  }
  return Status::Ok();
}

}  // namespace

Result<std::unique_ptr<Checkpoint>> OpenGgufCheckpoint(const std::string& path) {
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  auto checkpoint = std::make_unique<GgufCheckpoint>(std::move(file));
  RETURN_IF_ERROR(checkpoint->Parse());
  return std::unique_ptr<Checkpoint>(std::move(checkpoint));
}

}  // namespace phalanx
