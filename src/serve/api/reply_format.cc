#include "serve/api/reply_format.h"

#include "serve/api/json_writer.h"

namespace phalanx {

std::string_view FinishReasonText(FinishReason reason) {
  switch (reason) {
    case FinishReason::kLength:
      return "length";
    case FinishReason::kStop:
    case FinishReason::kAbort:
    case FinishReason::kError:
      return "stop";
  }
  return "stop";
}

void AppendStopReason(const StopReason& reason, std::string* out) {
  if (const auto* text = std::get_if<std::string>(&reason)) {
    AppendJsonString(*text, out);
  } else if (const auto* id = std::get_if<int32_t>(&reason)) {
    AppendInt(*id, out);
  } else {
    out->append("null");
  }
}

void AppendUsage(const Usage& usage, std::string* out) {
  out->append("{\"prompt_tokens\":");
  AppendInt(usage.prompt_tokens, out);
  out->append(",\"prompt_tokens_details\":{\"cached_tokens\":");
  AppendInt(usage.cached_tokens, out);
  out->append("},\"completion_tokens\":");
  AppendInt(usage.completion_tokens, out);
  out->append(",\"total_tokens\":");
  AppendInt(usage.prompt_tokens + usage.completion_tokens, out);
  out->push_back('}');
}

}  // namespace phalanx
