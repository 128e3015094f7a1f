#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "serve/text/tokenizer.h"

struct phx_text_stream;

namespace phalanx {

// The text of one growing sequence, token by token. All pushed text plus Flush() equals Tokenizer::Decode of all
// tokens. One thread at a time.
class Detokenizer {
 public:
  // tokenizer: must not be null.
  explicit Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens = true);
  ~Detokenizer();
  Detokenizer(Detokenizer&& other) noexcept;
  Detokenizer& operator=(Detokenizer&& other) noexcept;

  // The text that is certain now and wasn't before: always whole characters, often empty. For byte-level tokenizers
  // at most 3 bytes are held back. Bytes that can't become a character are U+FFFD.
  std::string Push(int32_t token);

  // What is still held back, at the end of the sequence: empty or U+FFFD. Ready for a new sequence afterwards.
  std::string Flush();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  phx_text_stream* stream_;  // owned
};

}  // namespace phalanx
