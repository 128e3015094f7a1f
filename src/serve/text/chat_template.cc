#include "serve/text/chat_template.h"

#include <utility>

#include "base/check.h"
#include "serve/text/rust_call.h"

namespace phalanx {
namespace {

using Json = nlohmann::ordered_json;

// Deeper values overflow the stack of a recursive writer, and no honest chat has them.
constexpr int kMaxDepth = 100;

bool DeeperThan(const Json& value, int depth) {
  if (!value.is_structured()) return false;
  if (depth == 0) return true;
  for (const Json& item : value) {
    if (DeeperThan(item, depth - 1)) return true;
  }
  return false;
}

// Owns the JSON texts that `chat` points to.
struct ChatTexts {
  std::string messages;
  std::string tools;
  std::string kwargs;
  phx_text_chat chat;
};

Result<std::string> ToText(const char* name, const Json& value) {
  if (DeeperThan(value, kMaxDepth)) {
    return InvalidArgument(std::string(name) + ": nested deeper than " + std::to_string(kMaxDepth) +
                           " levels")
        .WithParam(name);
  }
  return value.is_null() ? std::string() : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Status Write(const ChatInput& input, ChatTexts* texts) {
  if (!input.messages.is_array()) return InvalidArgument("messages: expected an array").WithParam("messages");
  ASSIGN_OR_RETURN(texts->messages, ToText("messages", input.messages));
  ASSIGN_OR_RETURN(texts->tools, ToText("tools", input.tools));
  ASSIGN_OR_RETURN(texts->kwargs, ToText("chat_template_kwargs", input.kwargs));
  texts->chat = {ToSlice(texts->messages), ToSlice(texts->tools), ToSlice(texts->kwargs),
                 ToSlice(input.template_name), input.add_generation_prompt ? 1 : 0};
  return Status::Ok();
}

}  // namespace

ChatTemplate::ChatTemplate(std::shared_ptr<const Tokenizer> tokenizer, phx_text_template* chat_template)
    : tokenizer_(std::move(tokenizer)), template_(chat_template) {}

ChatTemplate::~ChatTemplate() {
  phx_text_template_free(template_);
}

Result<std::shared_ptr<const ChatTemplate>> ChatTemplate::FromModel(
    std::shared_ptr<const Tokenizer> tokenizer, std::string override_text) {
  CHECK(tokenizer != nullptr);
  phx_text_template* chat_template = nullptr;
  char* error = nullptr;
  const phx_text_code code =
      phx_text_template_new(tokenizer->model_, ToSlice(override_text), &chat_template, &error);
  RETURN_IF_ERROR(TakeStatus(code, error));
  return std::shared_ptr<const ChatTemplate>(new ChatTemplate(std::move(tokenizer), chat_template));
}

Result<std::string> ChatTemplate::Render(const ChatInput& input) const {
  ChatTexts texts;
  RETURN_IF_ERROR(Write(input, &texts));
  char* text = nullptr;
  size_t size = 0;
  char* error = nullptr;
  const phx_text_code code = phx_text_render(template_, &texts.chat, &text, &size, &error);
  RETURN_IF_ERROR(TakeStatus(code, error));
  std::string result(text, size);
  phx_text_free(text);
  return result;
}

Result<std::vector<int32_t>> ChatTemplate::EncodeChat(const ChatInput& input) const {
  ChatTexts texts;
  RETURN_IF_ERROR(Write(input, &texts));
  int32_t* ids = nullptr;
  size_t num_ids = 0;
  char* error = nullptr;
  const phx_text_code code = phx_text_encode_chat(template_, &texts.chat, &ids, &num_ids, &error);
  RETURN_IF_ERROR(TakeStatus(code, error));
  std::vector<int32_t> result(ids, ids + num_ids);
  phx_text_free(ids);
  return result;
}

}  // namespace phalanx
