// Reading a field from JSON: first the type, then the allowed values, then what this version can't do yet.

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "config/field_table.h"

namespace phalanx {
namespace {

std::string Shown(const Json& value) {
  constexpr size_t kMaxShown = 120;
  std::string text = DumpJson(value);
  if (text.size() > kMaxShown) {
    size_t end = kMaxShown;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
    text = text.substr(0, end) + "...";
  }
  return text;
}

bool NumberAllowed(double value, const AllowedValues& allowed) {
  if (std::find(allowed.also.begin(), allowed.also.end(), value) != allowed.also.end()) return true;
  if (allowed.min && (allowed.min_is_excluded ? value <= *allowed.min : value < *allowed.min)) return false;
  return !allowed.max || value <= *allowed.max;
}

bool TextAllowed(const std::string& text, const AllowedValues& allowed) {
  if (allowed.max_length && text.size() > *allowed.max_length) return false;
  if (!allowed.one_of.empty() &&
      std::find(allowed.one_of.begin(), allowed.one_of.end(), text) == allowed.one_of.end()) {
    return false;
  }
  return allowed.text_check == nullptr || allowed.text_check(text);
}

// The value as T, or nothing if its JSON type or its value is not allowed.
template <class T>
struct Reader;

template <>
struct Reader<bool> {
  static std::optional<bool> Read(const Json& json, const AllowedValues& allowed) {
    if (json.is_boolean()) return json.get<bool>();
    if (allowed.or_text && (json == "true" || json == "1")) return true;
    if (allowed.or_text && (json == "false" || json == "0")) return false;
    return std::nullopt;
  }
};

template <>
struct Reader<int> {
  static std::optional<int> Read(const Json& json, const AllowedValues& allowed) {
    if (allowed.bools && json.is_boolean())
      return json.get<bool>() ? allowed.bools->first : allowed.bools->second;
    if (!json.is_number_integer()) return std::nullopt;
    double value = json.get<double>();
    if (allowed.negative_is_zero && value < 0) value = 0;
    if (value < std::numeric_limits<int>::min() || value > std::numeric_limits<int>::max())
      return std::nullopt;
    if (!NumberAllowed(value, allowed)) return std::nullopt;
    return static_cast<int>(value);
  }
};

template <>
struct Reader<double> {
  static std::optional<double> Read(const Json& json, const AllowedValues& allowed) {
    if (!json.is_number() || !NumberAllowed(json.get<double>(), allowed)) return std::nullopt;
    return json.get<double>();
  }
};

template <>
struct Reader<std::string> {
  static std::optional<std::string> Read(const Json& json, const AllowedValues& allowed) {
    if (!json.is_string() || !TextAllowed(json.get_ref<const std::string&>(), allowed)) return std::nullopt;
    return json.get<std::string>();
  }
};

template <class T>
struct Reader<std::vector<T>> {
  static std::optional<std::vector<T>> Read(const Json& json, const AllowedValues& allowed) {
    if (!json.is_array()) return std::nullopt;
    if (allowed.items && (json.size() < allowed.items->first || json.size() > allowed.items->second)) {
      return std::nullopt;
    }
    std::vector<T> values;
    for (const Json& item : json) {
      std::optional<T> value = Reader<T>::Read(item, allowed);
      if (!value) return std::nullopt;
      values.push_back(*std::move(value));
    }
    return values;
  }
};

// Why this version can't do the value; empty if it can.
std::string LaterReason(const Json& value, const AllowedValues& allowed) {
  for (const AllowedValues::LaterValue& later : allowed.later) {
    if (value.dump() == later.value) return later.reason;
  }
  if (allowed.later_above && value.is_number() && value.get<double>() > allowed.later_above->first) {
    return allowed.later_above->second;
  }
  return "";
}

std::string AllowedText(const FieldDeclaration& field) {
  std::string values = field.allowed.ToString();
  return values.empty() ? field.type : field.type + ", " + values;
}

}  // namespace

void ReadField(const FieldDeclaration& field, const Json& value, FieldRef ref, ConfigReport* report) {
  std::visit(
      [&](auto* member) {
        using T = std::remove_pointer_t<decltype(member)>;
        std::optional<T> read = Reader<T>::Read(value, field.allowed);
        if (!read) {
          report->Found(field.FullName(), Shown(value), AllowedText(field));
          return;
        }
        *member = *std::move(read);
        std::string later = LaterReason(Json(*member), field.allowed);
        if (!later.empty()) report->Later(field.FullName(), Shown(value), later);
      },
      ref);
}

Json WriteField(FieldRef ref) {
  return std::visit([](const auto* member) { return Json(*member); }, ref);
}

}  // namespace phalanx
