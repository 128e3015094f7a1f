#include "config/field_spec.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

namespace phalanx {
namespace {

constexpr double kMaxInt = std::numeric_limits<int>::max();
constexpr double kMinInt = std::numeric_limits<int>::min();

bool IsAlnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool HasControlCharacter(const std::string& text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

std::string Number(double value) {
  std::ostringstream out;
  out.precision(12);
  out << value;
  return out.str();
}

std::string JoinWithOr(const std::vector<std::string>& items) {
  std::string joined;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) joined += i + 1 == items.size() ? " or " : ", ";
    joined += items[i];
  }
  return joined;
}

}  // namespace

bool IsEmptyOrIpAddress(const std::string& text) {
  return text.empty() || IsIpAddress(text);
}

bool IsModelName(const std::string& text) {
  if (text.empty() || text.size() > 256 || !IsAlnum(text.front()) || !IsAlnum(text.back())) return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return IsAlnum(c) || c == '_' || c == '.' || c == '-'; });
}

bool IsWeightPath(const std::string& text) {
  if (text.empty() || text.size() > 4096 || HasControlCharacter(text)) return false;
  std::vector<std::string> names = Split(text, '/');
  std::erase(names, "");
  return names.size() <= 32 && std::all_of(names.begin(), names.end(), [](const std::string& name) {
           return name.size() <= 255 && name != "..";
         });
}

bool IsFilePath(const std::string& text) {
  return !text.empty() && text.size() <= 4096 && !HasControlCharacter(text);
}

bool IsBackendName(const std::string& text) {
  if (text.empty() || text.size() > 50 || text.front() == '_' || text.back() == '_') return false;
  if (text.find("__") != std::string::npos) return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
}

bool IsPluginList(const std::string& text) {
  static constexpr std::string_view kPlugins[] = {"prefix_cache", "splitfuse", "mtp", "la",
                                                  "memory_decoding"};
  for (std::string name : Split(text, ',')) {
    std::erase(name, ' ');
    if (std::find(std::begin(kPlugins), std::end(kPlugins), name) == std::end(kPlugins)) return false;
  }
  return true;
}

bool IsEmptyOrJinja(const std::string& text) {
  return text.empty() || (text.ends_with(".jinja") && IsFilePath(text));
}

AllowedValues AllowedValues::Also(double value) && {
  also.push_back(value);
  return std::move(*this);
}

AllowedValues AllowedValues::Items(size_t least, size_t most) && {
  items = {least, most};
  return std::move(*this);
}

AllowedValues AllowedValues::Bools(int if_true, int if_false) && {
  bools = {if_true, if_false};
  return std::move(*this);
}

AllowedValues AllowedValues::OrText() && {
  or_text = true;
  return std::move(*this);
}

AllowedValues AllowedValues::NegativeIsZero() && {
  negative_is_zero = true;
  return std::move(*this);
}

AllowedValues AllowedValues::Required() && {
  required = true;
  return std::move(*this);
}

AllowedValues AllowedValues::Later(bool value, std::string reason) && {
  later.push_back({value ? "true" : "false", std::move(reason)});
  return std::move(*this);
}

AllowedValues AllowedValues::Later(const char* value, std::string reason) && {
  later.push_back({'"' + std::string(value) + '"', std::move(reason)});
  return std::move(*this);
}

AllowedValues AllowedValues::LaterAbove(double value, std::string reason) && {
  later_above = {value, std::move(reason)};
  return std::move(*this);
}

AllowedValues AllowedValues::Absent(std::string meaning) && {
  absent = std::move(meaning);
  return std::move(*this);
}

std::string AllowedValues::ToString() const {
  std::vector<std::string> parts;
  for (double value : also) parts.push_back(Number(value));
  if (min && max && *min > kMinInt) {
    parts.push_back((min_is_excluded ? "above " + Number(*min) + " up to " : Number(*min) + " to ") +
                    Number(*max));
  } else if (min && !max) {
    parts.push_back("at least " + Number(*min));
  }
  for (const std::string& name : one_of) parts.push_back('"' + name + '"');
  if (bools) parts.insert(parts.end(), {"true", "false"});
  if (or_text) parts.insert(parts.end(), {"true", "false", "1", "0"});
  if (!text_rule.empty()) parts.push_back(text_rule);
  if (max_length) parts.push_back("at most " + std::to_string(*max_length) + " characters");
  std::string text = JoinWithOr(parts);
  if (items) {
    if (!text.empty()) text += "; ";
    text += std::to_string(items->first) + " to " + std::to_string(items->second) + " items";
  }
  return text;
}

AllowedValues Any() {
  return AllowedValues();
}

AllowedValues AnyInt() {
  return Between(kMinInt, kMaxInt);
}

AllowedValues AnyNonNegative() {
  AllowedValues allowed;
  allowed.min = 0;
  return allowed;
}

AllowedValues Between(double min, double max) {
  AllowedValues allowed;
  allowed.min = min;
  allowed.max = max;
  return allowed;
}

AllowedValues AtLeast(double min) {
  return Between(min, kMaxInt);
}

AllowedValues AboveUpTo(double excluded_min, double max) {
  AllowedValues allowed = Between(excluded_min, max);
  allowed.min_is_excluded = true;
  return allowed;
}

AllowedValues Text(TextCheck check, std::string rule) {
  AllowedValues allowed;
  allowed.text_check = check;
  allowed.text_rule = std::move(rule);
  return allowed;
}

AllowedValues Path() {
  return Text(IsFilePath, "a path of 1 to 4096 characters");
}

AllowedValues MaxLength(size_t length) {
  AllowedValues allowed;
  allowed.max_length = length;
  return allowed;
}

FieldState FieldState::Live() && {
  needs_restart = false;
  return std::move(*this);
}

FieldState Active() {
  return FieldState();
}

FieldState NotYet() {
  FieldState state;
  state.kind = FieldState::kNotYet;
  return state;
}

FieldState NotYetUnder(std::string option) {
  FieldState state = NotYet();
  state.under = std::move(option);
  return state;
}

FieldState Ignored(std::string reason) {
  FieldState state;
  state.kind = FieldState::kIgnored;
  state.reason = std::move(reason);
  return state;
}

}  // namespace phalanx
