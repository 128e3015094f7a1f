#include "config/json_text.h"

#include <algorithm>
#include <set>

namespace phalanx {
namespace {

std::string LineAndColumn(std::string_view text, size_t offset) {
  std::string_view before = text.substr(0, offset);
  size_t line = 1 + static_cast<size_t>(std::count(before.begin(), before.end(), '\n'));
  size_t line_start = before.rfind('\n') + 1;  // npos + 1 = 0
  return "line " + std::to_string(line) + ", column " + std::to_string(offset - line_start + 1);
}

// The parser and the printer follow nesting with memory and stack: bounded before either sees the text.
Status CheckDepth(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxConfigDepth) {
        return InvalidArgument(LineAndColumn(text, i) + ": nested deeper than " +
                               std::to_string(kMaxConfigDepth) + " levels");
      }
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return Status::Ok();
}

// "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error ..." without the library's
// prefix.
std::string WithoutPrefix(std::string message) {
  size_t end = message.find("] ");
  if (end != std::string::npos) message.erase(0, end + 2);
  constexpr std::string_view kStart = "parse error at ";
  if (message.starts_with(kStart)) message.erase(0, kStart.size());
  return message;
}

}  // namespace

Result<JsonText> ParseJsonText(std::string_view text) {
  RETURN_IF_ERROR(CheckDepth(text));
  JsonText parsed;
  std::vector<std::set<std::string>> open_objects;
  auto watch = [&](int, Json::parse_event_t event, Json& item) {
    if (event == Json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == Json::parse_event_t::object_end) open_objects.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto& key = item.get_ref<const std::string&>();
      constexpr size_t kMaxReported = 20;
      if (!open_objects.back().insert(key).second && parsed.duplicates.size() < kMaxReported) {
        parsed.duplicates.push_back("key \"" + key + "\" appears twice in one object; the last one counts");
      }
    }
    return true;
  };
  try {
    parsed.value = Json::parse(text, watch);
  } catch (const std::exception& error) {
    return InvalidArgument(WithoutPrefix(error.what()));
  }
  return parsed;
}

}  // namespace phalanx
