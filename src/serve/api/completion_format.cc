// text_completion, whole and in chunks: the same object, with one choice per chunk.
#include "serve/api/json_writer.h"
#include "serve/api/logprobs_text.h"
#include "serve/api/reply_format.h"

namespace phalanx {
namespace {

class CompletionFormat final : public ReplyFormat {
 public:
  CompletionFormat(ReplyHead head, int32_t num_choices, std::shared_ptr<const Tokenizer> tokenizer)
      : head_(std::move(head)), tokenizer_(std::move(tokenizer)), choices_(static_cast<size_t>(num_choices)) {
    object_head_ = "{\"id\":";
    AppendJsonString(head_.id, &object_head_);
    object_head_ += ",\"object\":\"text_completion\",\"created\":";
    AppendInt(head_.created, &object_head_);
    object_head_ += ",\"model\":";
    AppendJsonString(head_.model, &object_head_);
    object_head_ += ",\"choices\":[";
  }

  void AppendEvents(const ChoiceDelta& delta, std::string* out) override {
    AddLogprobs(delta);
    const bool shows_ids = head_.return_token_ids && !delta.token_ids.empty();
    Choice& choice = choices_[static_cast<size_t>(delta.index)];
    if (delta.text.empty() && delta.echo.empty() && choice.logprobs.empty() && !shows_ids &&
        !delta.finish_reason) {
      choice.owes_prompt_ids = choice.owes_prompt_ids || delta.first;
      return;
    }
    out->append("data: ").append(object_head_).append("{\"index\":");
    AppendInt(delta.index, out);
    out->append(",\"text\":\"");
    AppendJsonEscaped(delta.echo, out);
    AppendJsonEscaped(delta.text, out);
    out->append("\",\"logprobs\":");
    AppendLogprobs(&choice, out);
    out->append(",\"finish_reason\":");
    if (delta.finish_reason) {
      AppendJsonString(FinishReasonText(*delta.finish_reason), out);
    } else {
      out->append("null");
    }
    out->append(",\"stop_reason\":");
    AppendStopReason(delta.stop_reason, out);
    if (head_.return_token_ids) {
      out->append(",\"token_ids\":");
      AppendIntList(delta.token_ids, out);
      if (delta.first || choice.owes_prompt_ids) {
        out->append(",\"prompt_token_ids\":");
        AppendIntList(delta.prompt_token_ids, out);
        choice.owes_prompt_ids = false;
      }
    }
    out->append(head_.include_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n");
  }

  void AppendUsageEvent(const Usage& usage, std::string* out) override {
    out->append("data: ").append(object_head_).append("],\"usage\":");
    AppendUsage(usage, out);
    out->append("}\n\n");
  }

  void Collect(const ChoiceDelta& delta) override {
    AddLogprobs(delta);
    Choice& choice = choices_[static_cast<size_t>(delta.index)];
    choice.text.append(delta.echo).append(delta.text);
    if (head_.return_token_ids) {
      choice.token_ids.insert(choice.token_ids.end(), delta.token_ids.begin(), delta.token_ids.end());
      choice.prompt_token_ids.assign(delta.prompt_token_ids.begin(), delta.prompt_token_ids.end());
    }
    if (delta.finish_reason) choice.finish_reason = *delta.finish_reason;
    if (delta.finish_reason) choice.stop_reason = delta.stop_reason;
  }

  std::string Whole(const Usage& usage) override {
    std::string out = object_head_;
    for (size_t i = 0; i < choices_.size(); ++i) {
      Choice& choice = choices_[i];
      if (i > 0) out += ',';
      out += "{\"index\":";
      AppendInt(static_cast<int64_t>(i), &out);
      out += ",\"text\":";
      AppendJsonString(choice.text, &out);
      out += ",\"logprobs\":";
      AppendLogprobs(&choice, &out);
      out += ",\"finish_reason\":";
      AppendJsonString(FinishReasonText(choice.finish_reason), &out);
      out += ",\"stop_reason\":";
      AppendStopReason(choice.stop_reason, &out);
      if (head_.return_token_ids) {
        out += ",\"token_ids\":";
        AppendIntList(choice.token_ids, &out);
        out += ",\"prompt_token_ids\":";
        AppendIntList(choice.prompt_token_ids, &out);
      }
      out += '}';
    }
    out += "],\"usage\":";
    AppendUsage(usage, &out);
    out += '}';
    return out;
  }

 private:
  struct Choice {
    std::string text;
    CompletionLogprobs logprobs;
    std::vector<int32_t> token_ids, prompt_token_ids;
    bool owes_prompt_ids = false;  // its first chunk had nothing to show
    FinishReason finish_reason = FinishReason::kStop;
    StopReason stop_reason;
  };

  void AddLogprobs(const ChoiceDelta& delta) {
    if (!head_.wants_logprobs) return;
    CompletionLogprobs& logprobs = choices_[static_cast<size_t>(delta.index)].logprobs;
    if (delta.first && head_.echo && !delta.prompt_token_ids.empty()) {
      logprobs.AddFirst(*tokenizer_, delta.prompt_token_ids.front());
      logprobs.Add(*tokenizer_, delta.prompt_logprobs, head_.num_top_logprobs);
    }
    logprobs.Add(*tokenizer_, delta.logprobs, head_.num_top_logprobs);
  }

  void AppendLogprobs(Choice* choice, std::string* out) const {
    if (head_.wants_logprobs) {
      choice->logprobs.Take(out);
    } else {
      out->append("null");
    }
  }

  const ReplyHead head_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  std::string object_head_;  // up to the choices
  std::vector<Choice> choices_;
};

}  // namespace

std::unique_ptr<ReplyFormat> MakeCompletionFormat(ReplyHead head, int32_t num_choices,
                                                  std::shared_ptr<const Tokenizer> tokenizer) {
  return std::make_unique<CompletionFormat>(std::move(head), num_choices, std::move(tokenizer));
}

}  // namespace phalanx
