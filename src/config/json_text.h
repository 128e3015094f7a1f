#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "config/field_table.h"

namespace phalanx {

// Deepest nesting that a configuration may have; a complete one has eight levels.
inline constexpr int kMaxConfigDepth = 64;

struct JsonText {
  Json value;
  // "key \"port\" appears twice in one object; the last one counts"
  std::vector<std::string> duplicates;
};

// Parses strict JSON (no comments, no trailing commas; UTF-8).
// Error: InvalidArgument with line, column and what was expected there.
Result<JsonText> ParseJsonText(std::string_view text);

}  // namespace phalanx
