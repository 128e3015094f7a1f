// chat.completion and chat.completion.chunk. What does not change from chunk to chunk is rendered once.
#include "serve/api/json_writer.h"
#include "serve/api/logprobs_text.h"
#include "serve/api/reply_format.h"

namespace phalanx {
namespace {

class ChatFormat final : public ReplyFormat {
 public:
  ChatFormat(ReplyHead head, int32_t num_choices, std::shared_ptr<const Tokenizer> tokenizer)
      : head_(std::move(head)), tokenizer_(std::move(tokenizer)), choices_(static_cast<size_t>(num_choices)) {
    Head("chat.completion.chunk", &event_head_);
    event_head_ = "data: " + event_head_;
    event_tail_ = head_.include_usage ? ",\"usage\":null}\n\n" : "}\n\n";
  }

  void AppendEvents(const ChoiceDelta& delta, std::string* out) override {
    if (delta.first) {
      OpenChoice(delta.index, out);
      out->append("{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]");
      if (head_.return_token_ids) {
        out->append(",\"prompt_token_ids\":");
        AppendIntList(delta.prompt_token_ids, out);
      }
      out->append(event_tail_);
    }
    if (!delta.text.empty() || !delta.logprobs.empty() ||
        (head_.return_token_ids && !delta.token_ids.empty())) {
      OpenChoice(delta.index, out);
      out->append("{\"content\":\"");
      AppendJsonEscaped(delta.text, out);
      out->append("\"},\"logprobs\":");
      AppendLogprobs(delta, out);
      out->append(",\"finish_reason\":null");
      if (head_.return_token_ids) {
        out->append(",\"token_ids\":");
        AppendIntList(delta.token_ids, out);
      }
      out->append("}]").append(event_tail_);
    }
    if (delta.finish_reason) {
      OpenChoice(delta.index, out);
      out->append("{},\"logprobs\":null,\"finish_reason\":\"").append(FinishReasonText(*delta.finish_reason));
      out->append("\",\"stop_reason\":");
      AppendStopReason(delta.stop_reason, out);
      out->append("}]").append(event_tail_);
    }
  }

  void AppendUsageEvent(const Usage& usage, std::string* out) override {
    out->append(event_head_).append(",\"choices\":[],\"usage\":");
    AppendUsage(usage, out);
    out->append("}\n\n");
  }

  void Collect(const ChoiceDelta& delta) override {
    Choice& choice = choices_[static_cast<size_t>(delta.index)];
    choice.text.append(delta.text);
    if (head_.wants_logprobs) {
      AppendChatLogprobs(*tokenizer_, delta.logprobs, head_.num_top_logprobs, &choice.logprobs);
    }
    if (head_.return_token_ids) {
      choice.token_ids.insert(choice.token_ids.end(), delta.token_ids.begin(), delta.token_ids.end());
      prompt_token_ids_.assign(delta.prompt_token_ids.begin(), delta.prompt_token_ids.end());
    }
    if (delta.finish_reason) choice.finish_reason = *delta.finish_reason;
    if (delta.finish_reason) choice.stop_reason = delta.stop_reason;
  }

  std::string Whole(const Usage& usage) override {
    std::string out;
    Head("chat.completion", &out);
    out += ",\"choices\":[";
    for (size_t i = 0; i < choices_.size(); ++i) {
      const Choice& choice = choices_[i];
      if (i > 0) out += ',';
      out += "{\"index\":";
      AppendInt(static_cast<int64_t>(i), &out);
      out += ",\"message\":{\"role\":\"assistant\",\"content\":";
      AppendJsonString(choice.text, &out);
      out += ",\"tool_calls\":[]},\"logprobs\":";
      out += head_.wants_logprobs ? "{\"content\":[" + choice.logprobs + "]}" : "null";
      out.append(",\"finish_reason\":\"").append(FinishReasonText(choice.finish_reason));
      out += "\",\"stop_reason\":";
      AppendStopReason(choice.stop_reason, &out);
      if (head_.return_token_ids) {
        out += ",\"token_ids\":";
        AppendIntList(choice.token_ids, &out);
      }
      out += '}';
    }
    out += "],\"usage\":";
    AppendUsage(usage, &out);
    if (head_.return_token_ids) {
      out += ",\"prompt_token_ids\":";
      AppendIntList(prompt_token_ids_, &out);
    }
    out += '}';
    return out;
  }

 private:
  struct Choice {
    std::string text, logprobs;
    std::vector<int32_t> token_ids;
    FinishReason finish_reason = FinishReason::kStop;
    StopReason stop_reason;
  };

  // The object without its closing brace.
  void Head(std::string_view object, std::string* out) const {
    out->append("{\"id\":");
    AppendJsonString(head_.id, out);
    out->append(",\"object\":");
    AppendJsonString(object, out);
    out->append(",\"created\":");
    AppendInt(head_.created, out);
    out->append(",\"model\":");
    AppendJsonString(head_.model, out);
  }

  void OpenChoice(int32_t index, std::string* out) const {
    out->append(event_head_).append(",\"choices\":[{\"index\":");
    AppendInt(index, out);
    out->append(",\"delta\":");
  }

  void AppendLogprobs(const ChoiceDelta& delta, std::string* out) const {
    if (!head_.wants_logprobs) {
      out->append("null");
      return;
    }
    std::string items;
    AppendChatLogprobs(*tokenizer_, delta.logprobs, head_.num_top_logprobs, &items);
    out->append("{\"content\":[").append(items).append("]}");
  }

  const ReplyHead head_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  std::string event_head_, event_tail_;
  std::vector<Choice> choices_;
  std::vector<int32_t> prompt_token_ids_;
};

}  // namespace

std::unique_ptr<ReplyFormat> MakeChatFormat(ReplyHead head, int32_t num_choices,
                                            std::shared_ptr<const Tokenizer> tokenizer) {
  return std::make_unique<ChatFormat>(std::move(head), num_choices, std::move(tokenizer));
}

}  // namespace phalanx
