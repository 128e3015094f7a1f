#include "compute/weights/gguf_config.h"

#include <cstring>

#include "compute/weights/hf_config.h"

namespace phalanx {
namespace {

// Typed access to "{arch}.key" that names the file and key in its errors. After a bad value it stays failed.
class MetadataReader {
 public:
  MetadataReader(const std::string& path, const GgufMetadata& metadata, std::string arch)
      : path_(path), metadata_(metadata), arch_(std::move(arch)) {}

  const Status& status() const { return status_; }
  bool Has(const std::string& key) const { return metadata_.contains(arch_ + "." + key); }

  int64_t Integer(const std::string& key, int64_t fallback) {
    const GgufValue* value = Find(key);
    if (value == nullptr) return fallback;
    if (const int64_t* number = std::get_if<int64_t>(value)) return *number;
    return Wrong(key, "an integer"), fallback;
  }
  int64_t RequiredInteger(const std::string& key) {
    if (!Has(key)) Fail(InvalidArgument(path_ + ": metadata '" + arch_ + "." + key + "' is missing"));
    return Integer(key, 0);
  }
  double Number(const std::string& key, double fallback) {
    const GgufValue* value = Find(key);
    if (value == nullptr) return fallback;
    if (const double* number = std::get_if<double>(value)) return *number;
    if (const int64_t* number = std::get_if<int64_t>(value)) return static_cast<double>(*number);
    return Wrong(key, "a number"), fallback;
  }
  std::string Text(const std::string& key, std::string fallback) {
    const GgufValue* value = Find(key);
    if (value == nullptr) return fallback;
    if (const std::string_view* text = std::get_if<std::string_view>(value)) return std::string(*text);
    return Wrong(key, "a string"), fallback;
  }
  // A number of heads: one for all layers, or an array whose entries all agree.
  int64_t Heads(const std::string& key, int64_t fallback) {
    const GgufValue* value = Find(key);
    const GgufArray* array = value == nullptr ? nullptr : std::get_if<GgufArray>(value);
    if (array == nullptr) return Integer(key, fallback);
    if (array->count == 0 || (array->element_type != 4 && array->element_type != 5))
      return Wrong(key, "32-bit integers"), fallback;
    int32_t first = 0, other = 0;
    std::memcpy(&first, array->data, 4);
    for (uint64_t i = 1; i < array->count; ++i) {
      std::memcpy(&other, array->data + 4 * i, 4);
      if (other != first) Fail(Unimplemented(path_ + ": '" + arch_ + "." + key + "' differs between layers"));
    }
    return first;
  }

 private:
  const GgufValue* Find(const std::string& key) const {
    auto it = metadata_.find(arch_ + "." + key);
    return it == metadata_.end() ? nullptr : &it->second;
  }
  void Fail(Status status) {
    if (status_.ok()) status_ = std::move(status);
  }
  void Wrong(const std::string& key, const std::string& expected) {
    Fail(InvalidArgument(path_ + ": metadata '" + arch_ + "." + key + "' is not " + expected));
  }

  const std::string& path_;
  const GgufMetadata& metadata_;
  std::string arch_;
  Status status_;
};

std::vector<float> FloatTensor(const Checkpoint& checkpoint, std::string_view name) {
  const CheckpointTensor* tensor = checkpoint.Find(name);
  if (tensor == nullptr || tensor->format != WeightFormat::kF32) return {};
  std::vector<float> values(tensor->bytes / sizeof(float));
  std::memcpy(values.data(), tensor->data, tensor->bytes);
  return values;
}

Status ReadRope(const std::string& path, MetadataReader& reader, const Checkpoint& checkpoint,
                ModelConfig* config) {
  RopeConfig& rope = config->rope;
  rope.theta = reader.Number("rope.freq_base", 10000.0);
  rope.dim = static_cast<int>(reader.Integer("rope.dimension_count", config->head_dim));
  rope.max_position = config->max_position;
  rope.original_max_position = reader.Integer("rope.scaling.original_context_length", config->max_position);
  rope.factor = reader.Number("rope.scaling.factor", reader.Number("rope.scale_linear", 1.0));
  const std::string type =
      reader.Text("rope.scaling.type", reader.Has("rope.scale_linear") ? "linear" : "none");
  rope.short_factor = FloatTensor(checkpoint, "rope_factors_short.weight");
  rope.long_factor = FloatTensor(checkpoint, "rope_factors_long.weight");
  rope.divisors = FloatTensor(checkpoint, "rope_freqs.weight");
  if (type == "linear") {
    rope.type = RopeConfig::Type::kLinear;
  } else if (type == "yarn") {
    rope.type = RopeConfig::Type::kYarn;
    rope.beta_fast = reader.Number("rope.scaling.yarn_beta_fast", 32);
    rope.beta_slow = reader.Number("rope.scaling.yarn_beta_slow", 1);
    const double given =
        reader.Number("rope.scaling.yarn_attn_factor", reader.Number("rope.scaling.attn_factor", 1.0));
    rope.attention_factor = given * (rope.factor > 1 ? 1 + 0.1 * __builtin_log(rope.factor) : 1.0);
    if (reader.Number("rope.scaling.yarn_ext_factor", 1.0) != 1.0) {
      return Unimplemented(path + ": rope.scaling.yarn_ext_factor other than 1");
    }
  } else if (type == "longrope") {
    rope.type = RopeConfig::Type::kLongRope;
    if (reader.Has("rope.scaling.attn_factor"))
      rope.attention_factor = reader.Number("rope.scaling.attn_factor", 1.0);
    if (!reader.Has("rope.scaling.factor") && rope.original_max_position > 0) {
      rope.factor = static_cast<double>(rope.max_position) / static_cast<double>(rope.original_max_position);
    }
  } else if (type != "none") {
    return Unimplemented(path + ": rope.scaling.type '" + type + "'");
  }
  return reader.status();
}

bool HasTensor(const Checkpoint& checkpoint, std::string_view name) {
  return checkpoint.Find(name) != nullptr;
}

// The type that most bytes of the file have: what the checkpoint "is".
std::string MainType(const Checkpoint& checkpoint) {
  std::map<std::string, size_t> bytes;
  for (const CheckpointTensor& tensor : checkpoint.tensors()) bytes[tensor.type_name] += tensor.bytes;
  std::string best;
  for (const auto& [name, sum] : bytes) {
    if (best.empty() || sum > bytes[best]) best = name;
  }
  return best;
}

Result<std::string> Architecture(const std::string& path, const GgufMetadata& metadata) {
  auto it = metadata.find("general.architecture");
  const std::string_view* name = it == metadata.end() ? nullptr : std::get_if<std::string_view>(&it->second);
  if (name == nullptr) return InvalidArgument(path + ": metadata 'general.architecture' is missing");
  if (*name != "llama") {
    return Unimplemented(path + ": architecture '" + std::string(name->substr(0, 64)) +
                         "' is not built; known: llama");
  }
  return std::string(*name);
}

int64_t NumTokens(const GgufMetadata& metadata) {
  auto it = metadata.find("tokenizer.ggml.tokens");
  const GgufArray* tokens = it == metadata.end() ? nullptr : std::get_if<GgufArray>(&it->second);
  return tokens == nullptr ? 0 : static_cast<int64_t>(tokens->count);
}

}  // namespace

Result<ModelConfig> ConfigFromGguf(const std::string& path, const GgufMetadata& metadata,
                                   const Checkpoint& checkpoint) {
  ASSIGN_OR_RETURN(const std::string arch, Architecture(path, metadata));
  if (auto it = metadata.find("split.count"); it != metadata.end()) {
    const int64_t* count = std::get_if<int64_t>(&it->second);
    if (count != nullptr && *count > 1) {
      return Unimplemented(path + ": one of " + std::to_string(*count) +
                           " files of a split model; merge them into one");
    }
  }
  MetadataReader reader(path, metadata, arch);
  if (reader.Integer("expert_count", 0) > 0)
    return Unimplemented(path + ": mixture of experts (llama.expert_count)");

  const int64_t tokens = NumTokens(metadata);
  const int64_t layers = reader.RequiredInteger("block_count"),
                heads = reader.Heads("attention.head_count", 0);
  const int64_t kv_heads = reader.Heads("attention.head_count_kv", heads);
  ModelConfig config;
  config.architecture = arch;
  config.dtype = MainType(checkpoint);
  config.hidden_size = reader.RequiredInteger("embedding_length");
  config.intermediate_size = reader.RequiredInteger("feed_forward_length");
  config.max_position = reader.RequiredInteger("context_length");
  config.rms_norm_eps = static_cast<float>(reader.Number("attention.layer_norm_rms_epsilon", 1e-5));
  config.vocab_size = reader.Integer("vocab_size", tokens);
  config.token_count = tokens;
  const int64_t head_dim = reader.Integer("attention.key_length", heads > 0 ? config.hidden_size / heads : 0);
  RETURN_IF_ERROR(reader.status());
  if (reader.Integer("attention.value_length", head_dim) != head_dim) {
    return Unimplemented(path + ": attention.value_length differs from attention.key_length");
  }
  RETURN_IF_ERROR(SetModelCounts(path, layers, heads, kv_heads, head_dim, &config));
  const int64_t window = reader.Integer("attention.sliding_window", 0);
  config.layer_window.assign(static_cast<size_t>(config.num_layers), window > 0 ? window : 0);

  config.tied_embeddings = !HasTensor(checkpoint, "output.weight");
  config.qkv_bias = HasTensor(checkpoint, "blk.0.attn_q.bias");
  config.output_bias = HasTensor(checkpoint, "blk.0.attn_output.bias");
  config.mlp_bias = HasTensor(checkpoint, "blk.0.ffn_gate.bias");
  config.permuted_qk = true;
  RETURN_IF_ERROR(ReadRope(path, reader, checkpoint, &config));
  RETURN_IF_ERROR(CheckModelConfig(path, config));
  return config;
}

}  // namespace phalanx
