#include "serve/api/body_fields.h"

#include <cmath>

namespace phalanx {
namespace {

// An ordered object looks its keys up one by one: without a bound, inserting n members takes n * n / 2 comparisons.
constexpr int kMaxMembers = 1024;
constexpr int kMaxDepth = 128;

std::string NumberText(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15)
    return std::to_string(static_cast<int64_t>(value));
  std::string text = std::to_string(value);
  while (text.ends_with('0')) text.pop_back();
  return text;
}

// Counts the members of each object. The text need not be valid.
Status CheckMembers(std::string_view text) {
  int members[kMaxDepth] = {};
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
      continue;
    }
    if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth >= kMaxDepth) return InvalidArgument("the request's JSON nests too deep");
      members[depth] = 0;
    } else if (c == '}' || c == ']') {
      if (depth > 0) --depth;
    } else if (c == ':' && ++members[depth] > kMaxMembers) {
      return InvalidArgument("an object of the request has more than " + std::to_string(kMaxMembers) +
                             " members");
    }
  }
  return Status::Ok();
}

}  // namespace

const OrderedJson* BodyFields::Find(std::string_view name) const {
  const auto it = json_.find(name);
  return it == json_.end() || it->is_null() ? nullptr : &*it;
}

Status BodyFields::Error(std::string_view name, std::string message) const {
  return InvalidArgument(std::move(message)).WithParam(prefix_ + std::string(name));
}

Status BodyFields::WrongType(std::string_view name, std::string_view wanted, const OrderedJson& found) const {
  return Error(
      name, prefix_ + std::string(name) + " must be " + std::string(wanted) + ", got " + found.type_name());
}

Status BodyFields::ReadBool(std::string_view name, bool* value) const {
  const OrderedJson* field = Find(name);
  if (field == nullptr) return Status::Ok();
  if (!field->is_boolean()) return WrongType(name, "a boolean", *field);
  *value = field->get<bool>();
  return Status::Ok();
}

Status BodyFields::ReadInt(std::string_view name, int64_t min, int64_t max,
                           std::optional<int64_t>* value) const {
  const OrderedJson* field = Find(name);
  if (field == nullptr) return Status::Ok();
  if (!field->is_number_integer()) return WrongType(name, "an integer", *field);
  const bool huge = field->is_number_unsigned() && field->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  const int64_t number = huge ? INT64_MAX : field->get<int64_t>();
  if (huge || number < min || number > max) {
    return Error(name, prefix_ + std::string(name) + " must be in [" + std::to_string(min) + ", " +
                           std::to_string(max) + "], got " + field->dump());
  }
  *value = number;
  return Status::Ok();
}

Status BodyFields::ReadNumber(std::string_view name, double min, double max,
                              std::optional<double>* value) const {
  const OrderedJson* field = Find(name);
  if (field == nullptr) return Status::Ok();
  if (!field->is_number()) return WrongType(name, "a number", *field);
  const double number = field->get<double>();
  if (!(number >= min && number <= max)) {
    const std::string bound =
        max > 1e30 ? "at least " + NumberText(min) : "in [" + NumberText(min) + ", " + NumberText(max) + "]";
    return Error(name, prefix_ + std::string(name) + " must be " + bound + ", got " + field->dump());
  }
  *value = number;
  return Status::Ok();
}

Status BodyFields::ReadString(std::string_view name, std::optional<std::string>* value) const {
  const OrderedJson* field = Find(name);
  if (field == nullptr) return Status::Ok();
  if (!field->is_string()) return WrongType(name, "a string", *field);
  *value = field->get<std::string>();
  return Status::Ok();
}

Result<const OrderedJson*> BodyFields::ReadObject(std::string_view name) const {
  const OrderedJson* field = Find(name);
  if (field != nullptr && !field->is_object()) return WrongType(name, "an object", *field);
  return field;
}

Result<OrderedJson> ParseBody(std::string_view body, int max_depth) {
  RETURN_IF_ERROR(CheckMembers(body));
  ASSIGN_OR_RETURN(OrderedJson json, ParseOrderedJson(body, max_depth));
  if (!json.is_object()) {
    return InvalidArgument(std::string("the request's body must be a JSON object, got ") + json.type_name());
  }
  return json;
}

size_t Utf16Length(std::string_view utf8) {
  size_t length = 0;
  for (const char c : utf8) {
    const unsigned char byte = static_cast<unsigned char>(c);
    if ((byte & 0xc0) != 0x80) length += byte >= 0xf0 ? 2 : 1;
  }
  return length;
}

}  // namespace phalanx
