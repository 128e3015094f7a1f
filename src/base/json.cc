#include "base/json.h"

#include <limits>

namespace phalanx {
namespace {

// Position of the bracket that nests too deep; npos if none does. Brackets inside strings do not count.
size_t FindTooDeep(std::string_view text, int max_depth) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > max_depth) return i;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return std::string_view::npos;
}

template <class J>
Result<J> Parse(std::string_view text, int max_depth) {
  const size_t too_deep = FindTooDeep(text, max_depth);
  if (too_deep != std::string_view::npos) {
    return InvalidArgument("JSON nests deeper than " + std::to_string(max_depth) + " levels at byte " +
                           std::to_string(too_deep));
  }
  try {
    return J::parse(text.begin(), text.end());
  } catch (const std::exception& error) {
    std::string reason = error.what();
    // "[json.exception.parse_error.101] parse error at line 1, ...": the tag says nothing to a user.
    if (const size_t end = reason.find("] "); reason.starts_with("[json.") && end != std::string::npos) {
      reason.erase(0, end + 2);
    }
    return InvalidArgument("not valid JSON: " + reason);
  }
}

template <class J>
std::string Dump(const J& json) {
  return json.dump(-1, ' ', false, J::error_handler_t::replace);
}

Result<const Json*> Member(const Json& json, std::string_view key) {
  if (!json.is_object()) return InvalidArgument("expected a JSON object with \"" + std::string(key) + "\"");
  const auto it = json.find(key);
  if (it == json.end()) return InvalidArgument("\"" + std::string(key) + "\" is missing");
  return &*it;
}

Status WrongType(std::string_view key, std::string_view expected) {
  return InvalidArgument("\"" + std::string(key) + "\" must be " + std::string(expected));
}

bool IsInt64(const Json& json) {
  if (json.is_number_unsigned()) return json.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()};
  return json.is_number_integer();
}

}  // namespace

Result<Json> ParseJson(std::string_view text, int max_depth) {
  return Parse<Json>(text, max_depth);
}
Result<OrderedJson> ParseOrderedJson(std::string_view text, int max_depth) {
  return Parse<OrderedJson>(text, max_depth);
}

std::string DumpJson(const Json& json) {
  return Dump(json);
}
std::string DumpJson(const OrderedJson& json) {
  return Dump(json);
}

Result<std::string> JsonString(const Json& json, std::string_view key) {
  ASSIGN_OR_RETURN(const Json* member, Member(json, key));
  if (!member->is_string()) return WrongType(key, "a string");
  return member->get<std::string>();
}

Result<int64_t> JsonInt(const Json& json, std::string_view key) {
  ASSIGN_OR_RETURN(const Json* member, Member(json, key));
  if (!IsInt64(*member)) return WrongType(key, "an integer");
  return member->get<int64_t>();
}

Result<bool> JsonBool(const Json& json, std::string_view key) {
  ASSIGN_OR_RETURN(const Json* member, Member(json, key));
  if (!member->is_boolean()) return WrongType(key, "true or false");
  return member->get<bool>();
}

Result<double> JsonDouble(const Json& json, std::string_view key) {
  ASSIGN_OR_RETURN(const Json* member, Member(json, key));
  if (!member->is_number()) return WrongType(key, "a number");
  return member->get<double>();
}

Result<std::vector<int>> JsonInts(const Json& json, std::string_view key) {
  ASSIGN_OR_RETURN(const Json* member, Member(json, key));
  if (!member->is_array()) return WrongType(key, "a list of integers");
  std::vector<int> values;
  for (const Json& item : *member) {
    if (!IsInt64(item)) return WrongType(key, "a list of integers");
    const int64_t value = item.get<int64_t>();
    if (value < std::numeric_limits<int>::min() || value > std::numeric_limits<int>::max()) {
      return WrongType(key, "a list of 32-bit integers");
    }
    values.push_back(static_cast<int>(value));
  }
  return values;
}

}  // namespace phalanx
