#include "serve/text/detokenizer.h"

#include <utility>

#include "base/check.h"
#include "serve/text/rust_call.h"

namespace phalanx {
namespace {

// A token that the decoder itself refuses is shown as what it is: unreadable.
std::string TextOrReplacement(phx_text_code code, phx_text_slice text) {
  if (code != PHX_TEXT_OK) return "\uFFFD";
  return text.size == 0 ? "" : std::string(text.data, text.size);
}

}  // namespace

Detokenizer::Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens)
    : tokenizer_(std::move(tokenizer)), stream_(nullptr) {
  CHECK(tokenizer_ != nullptr);
  const phx_text_code code =
      phx_text_stream_new(tokenizer_->model_, skip_special_tokens ? 1 : 0, &stream_, nullptr);
  CHECK(code == PHX_TEXT_OK);
}

Detokenizer::~Detokenizer() {
  phx_text_stream_free(stream_);
}

Detokenizer::Detokenizer(Detokenizer&& other) noexcept
    : tokenizer_(std::move(other.tokenizer_)), stream_(std::exchange(other.stream_, nullptr)) {}

Detokenizer& Detokenizer::operator=(Detokenizer&& other) noexcept {
  std::swap(tokenizer_, other.tokenizer_);
  std::swap(stream_, other.stream_);
  return *this;
}

std::string Detokenizer::Push(int32_t token) {
  phx_text_slice text = {nullptr, 0};
  const phx_text_code code = phx_text_stream_push(stream_, token, &text, nullptr);
  return TextOrReplacement(code, text);
}

std::string Detokenizer::Flush() {
  phx_text_slice text = {nullptr, 0};
  const phx_text_code code = phx_text_stream_flush(stream_, &text, nullptr);
  return TextOrReplacement(code, text);
}

}  // namespace phalanx
