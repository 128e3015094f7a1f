#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace phalanx {

// The bytes with U+FFFD for each that is not part of a UTF-8 character.
std::string ToUtf8(std::string_view bytes);

// Appends to JSON text that is written by hand where speed matters. `text` must be UTF-8.

// Without the quotes.
void AppendJsonEscaped(std::string_view text, std::string* out);
void AppendJsonString(std::string_view text, std::string* out);
// null if `text` is empty.
void AppendJsonStringOrNull(std::string_view text, std::string* out);
void AppendInt(int64_t value, std::string* out);
// The shortest text that reads back as the same float; -9999.0 for what JSON has no number for (log 0).
void AppendLogprob(float value, std::string* out);
// [1,2,3]
void AppendIntList(std::span<const int32_t> values, std::string* out);

}  // namespace phalanx
