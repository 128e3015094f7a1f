#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

struct phx_text_model;

namespace phalanx {

struct EncodeOptions {
  // Add what the model's tokenizer puts around a text (BOS, EOS). False for rendered chat templates, which bring
  // their own.
  bool add_special_tokens = true;
  // Read the text of a control token ("<|im_end|>") as that token. False for whatever a user wrote.
  bool parse_special = false;
};

// Text -> ids and back, and what the model's files say about special ids. Immutable and thread-safe; shared by all
// who need it. Encoding takes about 0.6 us per byte, so long texts belong on a thread that may be slow.
class Tokenizer {
 public:
  // model_path: a Hugging Face directory (tokenizer.json, tokenizer_config.json, generation_config.json, chat
  // templates) or a .gguf file. A tokenizer.json beside a .gguf file is preferred if its vocabulary agrees with the
  // file's. Errors: NotFound (no such file, or no tokenizer in it), InvalidArgument (damaged), Unimplemented (a kind
  // of tokenizer that we don't know; the message names key and value).
  static Result<std::shared_ptr<Tokenizer>> Open(const std::string& model_path);

  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Errors: InvalidArgument if text isn't UTF-8.
  Result<std::vector<int32_t>> Encode(std::string_view text, EncodeOptions options = {}) const;

  // The text of ids. Bytes that aren't UTF-8 become U+FFFD; ids outside the vocabulary become nothing.
  std::string Decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  // What a token adds to the text, as raw bytes: perhaps part of a character. Special tokens: their text. Empty for
  // ids outside the vocabulary.
  std::string TokenBytes(int32_t id) const;

  // The token as the vocabulary writes it ("Ġworld", "▁world", "<0x0A>", "<|im_end|>"). Empty as above.
  std::string TokenText(int32_t id) const;

  // The id of a token written as the vocabulary writes it.
  std::optional<int32_t> TokenId(std::string_view text) const;

  // One more than the largest id. The model's rows of logits may be more (padding), never to be sampled.
  int vocab_size() const { return vocab_size_; }
  std::optional<int32_t> bos_id() const { return bos_id_; }
  // Ids that end a generation, ascending, each once: the union of generation_config.json, config.json and the
  // tokenizer's EOS; for GGUF of EOS, EOT and EOM.
  const std::vector<int32_t>& stop_ids() const { return stop_ids_; }
  // A control token: no text for a reader.
  bool IsSpecial(int32_t id) const;

  // Whether the model has a default chat template.
  bool has_chat_template() const { return has_chat_template_; }

 private:
  friend class ChatTemplate;
  friend class Detokenizer;

  explicit Tokenizer(phx_text_model* model);

  phx_text_model* model_;  // owned
  int vocab_size_ = 0;
  std::optional<int32_t> bos_id_;
  std::vector<int32_t> stop_ids_;
  bool has_chat_template_ = false;
};

}  // namespace phalanx
