#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "serve/api/stop_matcher.h"
#include "serve/text/detokenizer.h"

namespace phalanx {

// One choice's token ids turned into the text that the client sees: whole characters, ended by stop strings, of which
// nothing leaks. One thread at a time.
class ResponseStream {
 public:
  struct Options {
    bool skip_special_tokens = true;
    bool include_stop_string = false;  // the stop string, or the stop token's text, is part of the text
  };

  ResponseStream(std::shared_ptr<const Tokenizer> tokenizer, std::shared_ptr<const StopStrings> stops,
                 Options options);

  // Appends to *out the text that is certain now. `is_stop_token`: the sequence ended because of this token. The stop
  // string that is complete now, if any: the text ends there, nothing may be pushed any more.
  std::optional<size_t> Push(int32_t token, bool is_stop_token, std::string* out);

  // The sequence ended without a stop string: what was held back. It may complete a stop string after all.
  std::optional<size_t> Finish(std::string* out);

 private:
  std::optional<size_t> Match(std::string_view piece, std::string* out);

  Detokenizer detokenizer_;
  std::shared_ptr<const StopStrings> stops_;
  StopMatcher matcher_;
  const Options options_;
};

}  // namespace phalanx
