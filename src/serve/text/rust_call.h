#pragma once

#include <phx_text.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace phalanx {

inline phx_text_slice ToSlice(std::string_view text) {
  return {text.data(), text.size()};
}

// The Status of a call: `code` and the message it gave, which this frees.
inline Status TakeStatus(phx_text_code code, char* error) {
  if (code == PHX_TEXT_OK) return Status::Ok();
  std::string message = error != nullptr ? error : "unknown error";
  phx_text_free(error);
  switch (code) {
    case PHX_TEXT_INVALID_ARGUMENT:
      return InvalidArgument(std::move(message));
    case PHX_TEXT_NOT_FOUND:
      return NotFound(std::move(message));
    case PHX_TEXT_UNIMPLEMENTED:
      return Unimplemented(std::move(message));
    default:
      return Internal(std::move(message));
  }
}

}  // namespace phalanx
