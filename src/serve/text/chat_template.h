#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/status.h"
#include "serve/text/tokenizer.h"

struct phx_text_template;

namespace phalanx {

// What a template is given. Keys keep their order, as Python's do: a template that prints a tool prints it as the
// client wrote it.
struct ChatInput {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();  // [{"role", "content", ...}]
  nlohmann::ordered_json tools;                                       // array, or null: no tools
  nlohmann::ordered_json kwargs;  // object of further variables (enable_thinking, documents, ...), or null
  bool add_generation_prompt = true;
  // Empty: "tool_use" if there are tools and the model has it, else "default".
  std::string template_name;
};

// Messages -> prompt, with the template of the model's files and the environment of transformers'
// apply_chat_template. Immutable and thread-safe. As there, `content` is a string or null (the caller joins parts),
// and the `arguments` of a tool call are best given as an object, not as the text of one.
class ChatTemplate {
 public:
  // override_text: not empty: this template instead of the model's. A template is code, bounded in time but not in
  // every way: it comes from the operator, never from a request. Errors: NotFound if there is neither;
  // InvalidArgument if a template doesn't parse (the message has the line).
  static Result<std::shared_ptr<const ChatTemplate>> FromModel(std::shared_ptr<const Tokenizer> tokenizer,
                                                               std::string override_text = "");

  // The prompt as text. Errors: InvalidArgument for what the template raises (raise_exception) or can't do with
  // these messages; NotFound for an unknown template_name.
  Result<std::string> Render(const ChatInput& input) const;

  // The prompt as ids: equal to encoding Render()'s text with its control tokens, except that the text of a control
  // token inside `messages`, `tools` or `kwargs` stays text. Errors as Render.
  Result<std::vector<int32_t>> EncodeChat(const ChatInput& input) const;

  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }

  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

 private:
  ChatTemplate(std::shared_ptr<const Tokenizer> tokenizer, phx_text_template* chat_template);

  std::shared_ptr<const Tokenizer> tokenizer_;
  phx_text_template* template_;  // owned
};

}  // namespace phalanx
