#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "plan/request.h"
#include "serve/text/tokenizer.h"

namespace phalanx {

// Chat's "content" list: one item per token, joined by commas, without the brackets.
void AppendChatLogprobs(const Tokenizer& tokenizer, std::span<const TokenLogprobs> tokens, int32_t num_top,
                        std::string* out);

// Completions' four parallel lists, growing token by token.
class CompletionLogprobs {
 public:
  // A token that has no log-probability: the first of a prompt.
  void AddFirst(const Tokenizer& tokenizer, int32_t token_id);
  void Add(const Tokenizer& tokenizer, std::span<const TokenLogprobs> tokens, int32_t num_top);

  bool empty() const { return tokens_.empty(); }
  // Appends {"text_offset":[...],...} and empties the lists; offsets go on counting.
  void Take(std::string* out);

 private:
  void AddToken(const Tokenizer& tokenizer, int32_t token_id);

  int64_t offset_ = 0;  // in characters
  std::string text_offset_, token_logprobs_, tokens_, top_logprobs_;
};

}  // namespace phalanx
