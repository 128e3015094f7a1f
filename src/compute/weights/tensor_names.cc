#include "compute/weights/tensor_names.h"

namespace phalanx {
namespace {

struct Names {
  std::string_view ours, hugging_face, gguf;
};
constexpr Names kEmbed{"embed", "model.embed_tokens", "token_embd"};
constexpr Names kFinalNorm{"final_norm", "model.norm", "output_norm"};
constexpr Names kLmHead{"lm_head", "lm_head", "output"};
constexpr Names kAttnNorm{"attn_norm", "input_layernorm", "attn_norm"};
constexpr Names kQ{"q", "self_attn.q_proj", "attn_q"};
constexpr Names kK{"k", "self_attn.k_proj", "attn_k"};
constexpr Names kV{"v", "self_attn.v_proj", "attn_v"};
constexpr Names kO{"o", "self_attn.o_proj", "attn_output"};
constexpr Names kMlpNorm{"mlp_norm", "post_attention_layernorm", "ffn_norm"};
constexpr Names kGate{"gate", "mlp.gate_proj", "ffn_gate"};
constexpr Names kUp{"up", "mlp.up_proj", "ffn_up"};
constexpr Names kDown{"down", "mlp.down_proj", "ffn_down"};

class SpecList {
 public:
  explicit SpecList(CheckpointSource source) : source_(source) {}

  void EnterLayer(int32_t layer) {
    ours_ = "layer" + std::to_string(layer) + ".";
    theirs_ = (source_ == CheckpointSource::kGguf ? "blk." : "model.layers.") + std::to_string(layer) + ".";
  }
  void LeaveLayers() { ours_.clear(), theirs_.clear(); }

  void Vector(const Names& names, int64_t n) { Add(names, ".weight", "", n, 0, 0); }
  void Matrix(const Names& names, int64_t n, int64_t k, bool bias, int heads = 0) {
    Add(names, ".weight", "", n, k, heads);
    if (bias) Add(names, ".bias", ".bias", n, 0, heads);
  }
  std::vector<TensorSpec> Take() { return std::move(specs_); }

 private:
  void Add(const Names& names, std::string_view suffix, std::string_view our_suffix, int64_t n, int64_t k,
           int heads) {
    TensorSpec spec;
    spec.name = ours_ + std::string(names.ours) + std::string(our_suffix);
    const std::string_view theirs = source_ == CheckpointSource::kGguf ? names.gguf : names.hugging_face;
    spec.checkpoint_name = theirs_ + std::string(theirs) + std::string(suffix);
    spec.n = n;
    spec.k = k;
    spec.heads = heads;
    specs_.push_back(std::move(spec));
  }

  CheckpointSource source_;
  std::string ours_, theirs_;
  std::vector<TensorSpec> specs_;
};

}  // namespace

std::vector<TensorSpec> DenseDecoderTensors(const ModelConfig& c, CheckpointSource source) {
  const int64_t hidden = c.hidden_size, inner = c.intermediate_size;
  const int64_t q_rows = int64_t{c.num_heads} * c.head_dim, kv_rows = int64_t{c.num_kv_heads} * c.head_dim;
  SpecList list(source);
  list.Matrix(kEmbed, c.vocab_size, hidden, false);
  for (int32_t layer = 0; layer < c.num_layers; ++layer) {
    list.EnterLayer(layer);
    list.Vector(kAttnNorm, hidden);
    list.Matrix(kQ, q_rows, hidden, c.qkv_bias, c.permuted_qk ? c.num_heads : 0);
    list.Matrix(kK, kv_rows, hidden, c.qkv_bias, c.permuted_qk ? c.num_kv_heads : 0);
    list.Matrix(kV, kv_rows, hidden, c.qkv_bias);
    list.Matrix(kO, hidden, q_rows, c.output_bias);
    list.Vector(kMlpNorm, hidden);
    list.Matrix(kGate, inner, hidden, c.mlp_bias);
    list.Matrix(kUp, inner, hidden, c.mlp_bias);
    list.Matrix(kDown, hidden, inner, c.mlp_bias);
  }
  list.LeaveLayers();
  list.Vector(kFinalNorm, hidden);
  if (!c.tied_embeddings) list.Matrix(kLmHead, c.vocab_size, hidden, false);
  return list.Take();
}

bool IsIgnoredTensor(std::string_view name, const ModelConfig& config, CheckpointSource source) {
  if (source == CheckpointSource::kGguf) {
    return name == "rope_freqs.weight" || name == "rope_factors_short.weight" ||
           name == "rope_factors_long.weight";
  }
  return name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".attention.masked_bias") ||
         name.ends_with(".attention.bias") || (config.tied_embeddings && name == "lm_head.weight");
}

}  // namespace phalanx
