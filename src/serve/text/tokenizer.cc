#include "serve/text/tokenizer.h"

#include "base/check.h"
#include "serve/text/rust_call.h"

namespace phalanx {
namespace {

std::string ToString(phx_text_slice slice) {
  return slice.size == 0 ? "" : std::string(slice.data, slice.size);
}

}  // namespace

Result<std::shared_ptr<Tokenizer>> Tokenizer::Open(const std::string& model_path) {
  phx_text_model* model = nullptr;
  char* error = nullptr;
  const phx_text_code code = phx_text_open(ToSlice(model_path), &model, &error);
  RETURN_IF_ERROR(TakeStatus(code, error));
  return std::shared_ptr<Tokenizer>(new Tokenizer(model));
}

Tokenizer::Tokenizer(phx_text_model* model) : model_(model) {
  const phx_text_info info = phx_text_get_info(model);
  vocab_size_ = info.vocab_size;
  if (info.bos_id >= 0) bos_id_ = info.bos_id;
  stop_ids_.assign(info.stop_ids, info.stop_ids + info.num_stop_ids);
  has_chat_template_ = info.has_chat_template != 0;
}

Tokenizer::~Tokenizer() {
  phx_text_close(model_);
}

Result<std::vector<int32_t>> Tokenizer::Encode(std::string_view text, EncodeOptions options) const {
  int32_t* ids = nullptr;
  size_t num_ids = 0;
  char* error = nullptr;
  const phx_text_code code = phx_text_encode(model_, ToSlice(text), options.add_special_tokens ? 1 : 0,
                                             options.parse_special ? 1 : 0, &ids, &num_ids, &error);
  RETURN_IF_ERROR(TakeStatus(code, error));
  std::vector<int32_t> result(ids, ids + num_ids);
  phx_text_free(ids);
  return result;
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  char* text = nullptr;
  size_t size = 0;
  const phx_text_code code =
      phx_text_decode(model_, ids.data(), ids.size(), skip_special_tokens ? 1 : 0, &text, &size, nullptr);
  if (code != PHX_TEXT_OK) return "\uFFFD";
  std::string result(text, size);
  phx_text_free(text);
  return result;
}

std::string Tokenizer::TokenBytes(int32_t id) const {
  return ToString(phx_text_token_bytes(model_, id));
}

std::string Tokenizer::TokenText(int32_t id) const {
  return ToString(phx_text_token_text(model_, id));
}

std::optional<int32_t> Tokenizer::TokenId(std::string_view text) const {
  const int32_t id = phx_text_token_id(model_, ToSlice(text));
  if (id < 0) return std::nullopt;
  return id;
}

bool Tokenizer::IsSpecial(int32_t id) const {
  return phx_text_is_special(model_, id) != 0;
}

}  // namespace phalanx
