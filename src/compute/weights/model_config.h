#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace phalanx {

enum class CheckpointSource { kHuggingFace, kGguf };

// Rotary position embedding: the parameters of transformers' modeling_rope_utils, wherever they come from.
struct RopeConfig {
  enum class Type { kDefault, kLinear, kDynamic, kLlama3, kYarn, kLongRope };
  Type type = Type::kDefault;
  double theta = 10000;
  int dim = 0;  // rotated elements of a head, the first ones; even
  double factor = 1;
  int64_t max_position = 0;                          // the context that the checkpoint declares
  int64_t original_max_position = 0;                 // the context before scaling (llama3, yarn, longrope)
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  double beta_fast = 32, beta_slow = 1;              // yarn
  double mscale = 0, mscale_all_dim = 0;             // yarn; 0: not given
  bool truncate = true;                              // yarn
  std::optional<double> attention_factor;            // yarn, longrope
  std::vector<float> short_factor, long_factor;      // longrope, [dim / 2]
  std::vector<float> divisors;                       // GGUF's rope_freqs.weight [dim / 2]; empty: none
};

// What a checkpoint's model is: shapes and options of the decoder, for every family. Filled from config.json or
// from GGUF metadata, and checked: all sizes are positive and fit each other.
struct ModelConfig {
  std::string architecture;  // key of the model table: "llama", "mistral", ...
  std::string dtype;         // type of most weights, as the checkpoint calls it: "bfloat16", "Q4_1"

  int64_t vocab_size = 0;  // rows of the embedding and of the logits
  int64_t token_count =
      0;  // tokens of the tokenizer; rows beyond must never be sampled. 0: the checkpoint does not say
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int32_t num_layers = 0;
  int32_t num_heads = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  int64_t max_position = 0;  // context length in tokens
  float rms_norm_eps = 1e-6f;
  bool tied_embeddings = false;
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  std::vector<int64_t> layer_window;  // [num_layers], keys visible including the own one; 0: all
  RopeConfig rope;
  // GGUF of arch llama: rows of q and k are stored in interleaved order and are put back when they are packed.
  bool permuted_qk = false;

  // Equal parts whose sums make the balanced tree of the attention output and of the MLP's down projection: 8, 4, 2 or 1.
  // Set by WeightStore, since the weights' formats have a say.
  int output_segments = 1;
  int down_segments = 1;
};

}  // namespace phalanx
