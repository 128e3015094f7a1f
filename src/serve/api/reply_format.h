#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "plan/request.h"
#include "serve/text/tokenizer.h"

namespace phalanx {

// Why a choice stopped, if not by the model's own end: the client's stop string, or its stop token.
using StopReason = std::variant<std::monostate, std::string, int32_t>;

// What a choice has gained since the last time.
struct ChoiceDelta {
  int32_t index = 0;      // of the choice in the reply
  bool first = false;     // the first of this choice
  std::string_view echo;  // first only: the prompt's text, where it is part of the answer
  std::span<const TokenLogprobs> prompt_logprobs;  // first only: of all prompt tokens but the first
  std::span<const int32_t> prompt_token_ids;       // of this choice's prompt
  std::string_view text;
  std::span<const int32_t> token_ids;
  std::span<const TokenLogprobs> logprobs;  // empty: not asked for, or no new tokens
  std::optional<FinishReason> finish_reason;
  StopReason stop_reason;

  bool empty() const { return text.empty() && token_ids.empty() && echo.empty(); }
};

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t cached_tokens = 0;
};

// What a reply has in common with its chunks.
struct ReplyHead {
  std::string id;  // "chatcmpl-..."
  std::string model;
  int64_t created = 0;  // seconds since 1970
  bool include_usage = false;
  bool return_token_ids = false;
  bool wants_logprobs = false;
  int32_t num_top_logprobs = 0;
  bool echo = false;
};

// How an endpoint words its answer. Gets every delta of every choice, in order, and is asked for events (a stream) or
// for the whole at the end. One per request; one thread at a time.
class ReplyFormat {
 public:
  virtual ~ReplyFormat() = default;

  // Appends server-sent events for the delta; nothing if it has nothing that the client would see.
  virtual void AppendEvents(const ChoiceDelta& delta, std::string* out) = 0;
  virtual void AppendUsageEvent(const Usage& usage, std::string* out) = 0;

  // For a reply in one piece.
  virtual void Collect(const ChoiceDelta& delta) = 0;
  virtual std::string Whole(const Usage& usage) = 0;
};

std::unique_ptr<ReplyFormat> MakeChatFormat(ReplyHead head, int32_t num_choices,
                                            std::shared_ptr<const Tokenizer> tokenizer);
std::unique_ptr<ReplyFormat> MakeCompletionFormat(ReplyHead head, int32_t num_choices,
                                                  std::shared_ptr<const Tokenizer> tokenizer);

// Shared by both.
std::string_view FinishReasonText(FinishReason reason);
// "stop", 17 or null.
void AppendStopReason(const StopReason& reason, std::string* out);
void AppendUsage(const Usage& usage, std::string* out);

}  // namespace phalanx
