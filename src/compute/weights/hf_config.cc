#include "compute/weights/hf_config.h"

#include <algorithm>

#include "base/file.h"
#include "base/json.h"
#include "compute/weights/json_fields.h"

namespace phalanx {
namespace {

// The rope parameters of the file as one object: `rope_parameters`, else `rope_scaling`. Nested by layer type, all entries
// must agree (no family here has two).
Result<Json> RopeObject(JsonFields& fields) {
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const Json* value = fields.Find(key);
    if (value == nullptr) continue;
    if (!value->is_object()) return InvalidArgument(fields.where() + ": '" + key + "' is not an object");
    Json common;
    bool nested = false;
    for (const auto& [name, entry] : value->items()) {
      if (!entry.is_object() || !name.ends_with("_attention")) continue;
      if (nested && entry != common) {
        return Unimplemented(fields.where() + ": '" + key + "' differs between layer types");
      }
      nested = true;
      common = entry;
    }
    return nested ? common : *value;
  }
  return Json::object();
}

Status ReadRopeType(const std::string& where, const std::string& name, RopeConfig::Type* type) {
  static constexpr std::pair<std::string_view, RopeConfig::Type> kTypes[] = {
      {"default", RopeConfig::Type::kDefault}, {"linear", RopeConfig::Type::kLinear},
      {"dynamic", RopeConfig::Type::kDynamic}, {"llama3", RopeConfig::Type::kLlama3},
      {"yarn", RopeConfig::Type::kYarn},       {"longrope", RopeConfig::Type::kLongRope},
      {"su", RopeConfig::Type::kLongRope}};
  for (const auto& [known, value] : kTypes) {
    if (known == name) {
      *type = value;
      return Status::Ok();
    }
  }
  return Unimplemented(where + ": rope_type '" + name +
                       "'; known: default, linear, dynamic, llama3, yarn, longrope");
}

Status ReadRope(JsonFields& fields, const ModelConfig& config, RopeConfig* rope) {
  ASSIGN_OR_RETURN(const Json object, RopeObject(fields));
  JsonFields inner(fields.where() + ": rope parameters", object);
  RETURN_IF_ERROR(
      ReadRopeType(fields.where(), inner.Text("rope_type", inner.Text("type", "default")), &rope->type));

  rope->theta = inner.Number("rope_theta", fields.Number("rope_theta", 10000));
  const double partial = inner.Number("partial_rotary_factor", fields.Number("partial_rotary_factor", 1));
  if (!(partial > 0 && partial <= 1))
    return InvalidArgument(fields.where() + ": 'partial_rotary_factor' must lie in (0, 1]");
  rope->dim = static_cast<int>(config.head_dim * partial);
  rope->max_position = config.max_position;
  rope->original_max_position =
      fields.Integer("original_max_position_embeddings",
                     inner.Integer("original_max_position_embeddings", config.max_position));
  const double ratio = static_cast<double>(config.max_position) /
                       static_cast<double>(std::max<int64_t>(rope->original_max_position, 1));
  rope->factor = inner.Number("factor", ratio);
  rope->low_freq_factor = inner.Number("low_freq_factor", 1);
  rope->high_freq_factor = inner.Number("high_freq_factor", 4);
  rope->beta_fast = inner.Number("beta_fast", 32);
  rope->beta_slow = inner.Number("beta_slow", 1);
  rope->mscale = inner.Number("mscale", 0);
  rope->mscale_all_dim = inner.Number("mscale_all_dim", 0);
  rope->truncate = inner.Bool("truncate", true);
  rope->attention_factor = inner.OptionalNumber("attention_factor");
  rope->short_factor = inner.Floats("short_factor");
  rope->long_factor = inner.Floats("long_factor");
  return inner.status();
}

// Windows of the layers of a Mistral: `sliding_window` (class default 4096, null = none), which `layer_types` may lift.
Status ReadWindows(JsonFields& fields, const std::string& model_type, ModelConfig* config) {
  int64_t window = 0;
  if (model_type == "mistral") {
    window = fields.Mentions("sliding_window") ? fields.Integer("sliding_window", 0) : 4096;
    if (window < 0) return InvalidArgument(fields.where() + ": 'sliding_window' is negative");
  }
  config->layer_window.assign(static_cast<size_t>(config->num_layers), window);
  const Json* types = fields.Find("layer_types");
  if (types == nullptr) return Status::Ok();
  if (!types->is_array() || types->size() != config->layer_window.size()) {
    return InvalidArgument(fields.where() + ": 'layer_types' does not have one entry per layer");
  }
  for (size_t i = 0; i < types->size(); ++i) {
    if ((*types)[i] == "full_attention") {
      config->layer_window[i] = 0;
    } else if ((*types)[i] != "sliding_attention" || window == 0) {
      return Unimplemented(fields.where() + ": layer_types[" + std::to_string(i) + "] is " +
                           (*types)[i].dump());
    }
  }
  return Status::Ok();
}

Status RefuseWhatIsNotBuilt(JsonFields& fields) {
  const std::string act = fields.Text("hidden_act", "silu");
  if (act != "silu") return Unimplemented(fields.where() + ": hidden_act '" + act + "'; known: silu");
  if (const Json* quantization = fields.Find("quantization_config")) {
    const std::string method = JsonFields(fields.where(), *quantization).Text("quant_method", "unnamed");
    return Unimplemented(fields.where() + ": quantization_config with quant_method '" + method + "'");
  }
  return Status::Ok();
}

// Follows the events of a tokenizer.json; the ids are in model.vocab {token: id} (or a list of [token, score]) and in
// added_tokens [{"id": ...}].
class TokenCounter : public nlohmann::json_sax<Json> {
 public:
  int64_t count() const { return std::max(max_id_ + 1, listed_); }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t value) override { return Number(value); }
  bool number_unsigned(number_unsigned_t value) override { return Number(static_cast<int64_t>(value)); }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return Enter(); }
  bool end_object() override { return Leave(); }
  bool start_array(std::size_t) override {
    if (depth_ == 3 && InVocab()) ++listed_;
    return Enter();
  }
  bool end_array() override { return Leave(); }
  bool key(string_t& name) override {
    if (depth_ <= 3) path_[depth_ - 1] = name;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    max_id_ = -1;
    listed_ = 0;
    return false;
  }

 private:
  bool InVocab() const { return path_[0] == "model" && path_[1] == "vocab"; }
  bool Number(int64_t value) {
    const bool added = depth_ == 3 && path_[0] == "added_tokens" && path_[2] == "id";
    if (added || (depth_ == 3 && InVocab())) max_id_ = std::max(max_id_, value);
    return true;
  }
  bool Enter() {
    ++depth_;
    if (depth_ <= 3) path_[depth_ - 1].clear();
    return true;
  }
  bool Leave() {
    --depth_;
    return true;
  }

  size_t depth_ = 0;
  std::string path_[3];  // keys on the way to here, one per level
  int64_t max_id_ = -1;
  int64_t listed_ = 0;
};

Status CheckRopeConfig(const std::string& where, const RopeConfig& rope, int32_t head_dim) {
  const auto bad = [&](const std::string& reason) { return InvalidArgument(where + ": rope: " + reason); };
  if (rope.dim < 2 || rope.dim % 2 != 0 || rope.dim > head_dim) {
    return bad("rotated size " + std::to_string(rope.dim) + " of heads of " + std::to_string(head_dim));
  }
  if (!(rope.theta > 1)) return bad("theta must be above 1");
  if (!(rope.factor > 0)) return bad("factor must be positive");
  if (rope.original_max_position < 1) return bad("original_max_position_embeddings must be positive");
  const size_t half = static_cast<size_t>(rope.dim) / 2;
  if (rope.type == RopeConfig::Type::kLongRope &&
      (rope.short_factor.size() != half || rope.long_factor.size() != half)) {
    return bad("short_factor and long_factor need " + std::to_string(half) + " entries, found " +
               std::to_string(rope.short_factor.size()) + " and " + std::to_string(rope.long_factor.size()));
  }
  if (rope.type == RopeConfig::Type::kLlama3 &&
      !(rope.high_freq_factor > rope.low_freq_factor && rope.low_freq_factor > 0)) {
    return bad("high_freq_factor must be above low_freq_factor, and that above 0");
  }
  if (rope.type == RopeConfig::Type::kDynamic && rope.dim < 4)
    return bad("type dynamic needs at least 4 rotated elements");
  if (!rope.divisors.empty() && rope.divisors.size() != half) {
    return bad("rope_freqs.weight has " + std::to_string(rope.divisors.size()) + " entries instead of " +
               std::to_string(half));
  }
  for (const std::vector<float>* factors : {&rope.short_factor, &rope.long_factor, &rope.divisors}) {
    for (float f : *factors) {
      if (!(f > 0)) return bad("a frequency factor is not positive");
    }
  }
  return Status::Ok();
}

}  // namespace

int64_t CountTokens(const std::string& tokenizer_json_path) {
  Result<MappedFile> file = MappedFile::Open(tokenizer_json_path);
  if (!file.ok()) return 0;
  const char* text = reinterpret_cast<const char*>(file->data());
  TokenCounter counter;
  if (!Json::sax_parse(text, text + file->size(), &counter)) return 0;
  return counter.count();
}

Status SetModelCounts(const std::string& where, int64_t layers, int64_t heads, int64_t kv_heads,
                      int64_t head_dim, ModelConfig* config) {
  const std::pair<const char*, int64_t> counts[] = {{"layers", layers},
                                                    {"attention heads", heads},
                                                    {"key/value heads", kv_heads},
                                                    {"the head size", head_dim}};
  for (const auto& [name, count] : counts) {
    if (count < 1 || count > 65536) {
      return InvalidArgument(where + ": number of " + name + " " + std::to_string(count) +
                             " is out of range");
    }
  }
  config->num_layers = static_cast<int32_t>(layers);
  config->num_heads = static_cast<int32_t>(heads);
  config->num_kv_heads = static_cast<int32_t>(kv_heads);
  config->head_dim = static_cast<int32_t>(head_dim);
  return Status::Ok();
}

Status CheckModelConfig(const std::string& where, const ModelConfig& config) {
  const std::pair<const char*, int64_t> sizes[] = {{"vocabulary size", config.vocab_size},
                                                   {"hidden size", config.hidden_size},
                                                   {"intermediate size", config.intermediate_size},
                                                   {"context length", config.max_position}};
  for (const auto& [name, size] : sizes) {
    if (size < 1 || size > (int64_t{1} << 31) - 1) {
      return InvalidArgument(where + ": " + name + " " + std::to_string(size) + " is out of range");
    }
  }
  if (config.num_heads % config.num_kv_heads != 0) {
    return InvalidArgument(where + ": " + std::to_string(config.num_heads) +
                           " attention heads are not a multiple of " + std::to_string(config.num_kv_heads) +
                           " key/value heads");
  }
  if (!(config.rms_norm_eps >= 0 && config.rms_norm_eps < 1))
    return InvalidArgument(where + ": rms_norm_eps is out of range");
  return CheckRopeConfig(where, config.rope, config.head_dim);
}

Result<ModelConfig> ConfigFromHuggingFace(const std::string& folder, const Checkpoint& checkpoint) {
  const std::string path = folder + "/config.json";
  ASSIGN_OR_RETURN(const Json root, ReadJsonFile(path));
  if (!root.is_object()) return InvalidArgument(path + ": not a JSON object");
  JsonFields fields(path, root);

  const std::string model_type = fields.Text("model_type", "");
  if (model_type.empty()) return InvalidArgument(path + ": 'model_type' is missing");
  if (model_type != "llama" && model_type != "mistral") {
    return Unimplemented(path + ": model_type '" + model_type + "' is not built; known: llama, mistral");
  }
  RETURN_IF_ERROR(RefuseWhatIsNotBuilt(fields));

  ModelConfig config;
  config.architecture = model_type;
  config.dtype = fields.Text("dtype", fields.Text("torch_dtype", checkpoint.tensors().front().type_name));
  config.vocab_size = fields.RequiredInteger("vocab_size");
  config.hidden_size = fields.RequiredInteger("hidden_size");
  config.intermediate_size = fields.RequiredInteger("intermediate_size");
  config.max_position = fields.Integer("max_position_embeddings", model_type == "mistral" ? 131072 : 2048);
  config.rms_norm_eps = static_cast<float>(fields.Number("rms_norm_eps", 1e-6));
  config.tied_embeddings = fields.Bool("tie_word_embeddings", false);
  if (model_type == "llama") {
    config.qkv_bias = config.output_bias = fields.Bool("attention_bias", false);
    config.mlp_bias = fields.Bool("mlp_bias", false);
  }
  const int64_t heads = fields.RequiredInteger("num_attention_heads");
  const int64_t kv_heads = fields.Integer(
      "num_key_value_heads", model_type == "mistral" && !fields.Mentions("num_key_value_heads") ? 8 : heads);
  const int64_t head_dim = fields.Integer("head_dim", heads > 0 ? config.hidden_size / heads : 0);
  const int64_t layers = fields.RequiredInteger("num_hidden_layers");
  RETURN_IF_ERROR(fields.status());
  RETURN_IF_ERROR(SetModelCounts(path, layers, heads, kv_heads, head_dim, &config));
  RETURN_IF_ERROR(ReadWindows(fields, model_type, &config));
  RETURN_IF_ERROR(ReadRope(fields, config, &config.rope));
  RETURN_IF_ERROR(fields.status());
  config.token_count = std::min(CountTokens(folder + "/tokenizer.json"), config.vocab_size);
  RETURN_IF_ERROR(CheckModelConfig(path, config));
  return config;
}

}  // namespace phalanx
