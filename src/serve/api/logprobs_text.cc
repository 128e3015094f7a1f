#include "serve/api/logprobs_text.h"

#include <algorithm>

#include "serve/api/json_writer.h"

namespace phalanx {
namespace {

// A token that is part of a character only: "bytes:\xe2\x98", as the completions API has it, so that two tokens never
// get the same key.
std::string CompletionToken(std::string_view bytes) {
  if (ToUtf8(bytes) == bytes) return std::string(bytes);
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "bytes:";
  for (const char c : bytes) {
    const unsigned char byte = static_cast<unsigned char>(c);
    out += "\\x";
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
  return out;
}

int64_t NumCharacters(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

void AppendChatToken(const Tokenizer& tokenizer, int32_t token_id, float logprob, std::string* out) {
  const std::string bytes = tokenizer.TokenBytes(token_id);
  out->append("{\"token\":");
  AppendJsonString(ToUtf8(bytes), out);
  out->append(",\"logprob\":");
  AppendLogprob(logprob, out);
  out->append(",\"bytes\":[");
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i > 0) out->push_back(',');
    AppendInt(static_cast<unsigned char>(bytes[i]), out);
  }
  out->push_back(']');
}

void AppendComma(std::string* out) {
  if (!out->empty()) out->push_back(',');
}

}  // namespace

void AppendChatLogprobs(const Tokenizer& tokenizer, std::span<const TokenLogprobs> tokens, int32_t num_top,
                        std::string* out) {
  for (const TokenLogprobs& token : tokens) {
    if (!out->empty() && out->back() == '}') out->push_back(',');
    AppendChatToken(tokenizer, token.token_id, token.logprob, out);
    out->append(",\"top_logprobs\":[");
    const size_t count = std::min(token.top.size(), static_cast<size_t>(std::max(0, num_top)));
    for (size_t i = 0; i < count; ++i) {
      if (i > 0) out->push_back(',');
      AppendChatToken(tokenizer, token.top[i].token_id, token.top[i].logprob, out);
      out->push_back('}');
    }
    out->append("]}");
  }
}

void CompletionLogprobs::AddToken(const Tokenizer& tokenizer, int32_t token_id) {
  const std::string bytes = tokenizer.TokenBytes(token_id);
  AppendComma(&text_offset_);
  AppendInt(offset_, &text_offset_);
  offset_ += NumCharacters(bytes);
  AppendComma(&tokens_);
  AppendJsonString(CompletionToken(bytes), &tokens_);
}

void CompletionLogprobs::AddFirst(const Tokenizer& tokenizer, int32_t token_id) {
  AddToken(tokenizer, token_id);
  AppendComma(&token_logprobs_);
  token_logprobs_ += "null";
  AppendComma(&top_logprobs_);
  top_logprobs_ += "null";
}

void CompletionLogprobs::Add(const Tokenizer& tokenizer, std::span<const TokenLogprobs> tokens,
                             int32_t num_top) {
  for (const TokenLogprobs& token : tokens) {
    AddToken(tokenizer, token.token_id);
    AppendComma(&token_logprobs_);
    AppendLogprob(token.logprob, &token_logprobs_);
    AppendComma(&top_logprobs_);
    top_logprobs_ += '{';
    const size_t count = std::min(token.top.size(), static_cast<size_t>(std::max(0, num_top)));
    bool has_chosen = false;
    for (size_t i = 0; i < count; ++i) {
      if (i > 0) top_logprobs_ += ',';
      has_chosen = has_chosen || token.top[i].token_id == token.token_id;
      AppendJsonString(CompletionToken(tokenizer.TokenBytes(token.top[i].token_id)), &top_logprobs_);
      top_logprobs_ += ':';
      AppendLogprob(token.top[i].logprob, &top_logprobs_);
    }
    if (!has_chosen) {  // the chosen token is always among them
      if (count > 0) top_logprobs_ += ',';
      AppendJsonString(CompletionToken(tokenizer.TokenBytes(token.token_id)), &top_logprobs_);
      top_logprobs_ += ':';
      AppendLogprob(token.logprob, &top_logprobs_);
    }
    top_logprobs_ += '}';
  }
}

void CompletionLogprobs::Take(std::string* out) {
  *out += "{\"text_offset\":[" + text_offset_ + "],\"token_logprobs\":[" + token_logprobs_ +
          "],\"tokens\":[" + tokens_ + "],\"top_logprobs\":[" + top_logprobs_ + "]}";
  for (std::string* list : {&text_offset_, &token_logprobs_, &tokens_, &top_logprobs_}) list->clear();
}

}  // namespace phalanx
