#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/ip_address.h"

namespace phalanx {

// The words that the field lists are written in: which values a field allows and what state it is in.

// Whether a text value is allowed.
using TextCheck = bool (*)(const std::string& text);

bool IsEmptyOrIpAddress(const std::string& text);
bool IsModelName(const std::string& text);
bool IsWeightPath(const std::string& text);
bool IsFilePath(const std::string& text);
bool IsBackendName(const std::string& text);
bool IsPluginList(const std::string& text);
bool IsEmptyOrJinja(const std::string& text);

inline constexpr char kModelNameRule[] =
    "1 to 256 of letters, digits, '_', '.', '-', with a letter or digit first and last";
inline constexpr char kWeightPathRule[] =
    "a path of at most 4096 characters, 32 levels and 255 characters per name, without '..' or control "
    "characters";
inline constexpr char kPluginListRule[] =
    "a comma-separated list of prefix_cache, splitfuse, mtp, la, memory_decoding";

// The values that a field allows, whatever its type; a rule about items applies to every item of a list.
class AllowedValues {
 public:
  struct LaterValue {
    std::string value;   // as JSON text: "true", "\"dmi\""
    std::string reason;  // "TLS comes later"
  };

  std::optional<double> min, max;
  bool min_is_excluded = false;
  std::vector<double> also;         // numbers outside [min, max] that are allowed, too
  std::vector<std::string> one_of;  // empty: any text
  TextCheck text_check = nullptr;
  std::string text_rule;  // what text_check wants, in words
  std::optional<size_t> max_length;
  std::optional<std::pair<size_t, size_t>> items;  // of a list: least and most
  std::optional<std::pair<int, int>> bools;        // an int that may be written true or false
  bool or_text = false;                            // a bool that may be written "true", "false", "1", "0"
  bool negative_is_zero = false;
  bool required = false;          // nothing can stand in for an absent key
  std::vector<LaterValue> later;  // valid, but refused by this version
  std::optional<std::pair<double, std::string>>
      later_above;     // numbers above this are refused by this version
  std::string absent;  // what an absent key means, where that is not a constant

  AllowedValues Also(double value) &&;
  AllowedValues Items(size_t least, size_t most) &&;
  AllowedValues Bools(int if_true, int if_false) &&;
  AllowedValues OrText() &&;
  AllowedValues NegativeIsZero() &&;
  AllowedValues Required() &&;
  AllowedValues Later(bool value, std::string reason) &&;
  AllowedValues Later(const char* value, std::string reason) &&;
  AllowedValues LaterAbove(double value, std::string reason) &&;
  AllowedValues Absent(std::string meaning) &&;

  // "1024 to 65535", "-1 or 1 to 100", "\"standard\" or \"dmi\""; empty if every value of the type is
  // allowed.
  std::string ToString() const;
};

AllowedValues Any();
AllowedValues AnyInt();
AllowedValues AnyNonNegative();
AllowedValues Between(double min, double max);
AllowedValues AtLeast(double min);
AllowedValues AboveUpTo(double excluded_min, double max);
AllowedValues Text(TextCheck check, std::string rule);
AllowedValues Path();
AllowedValues MaxLength(size_t length);

template <class... Names>
AllowedValues OneOf(Names... names) {
  AllowedValues allowed;
  allowed.one_of = {std::string(names)...};
  return allowed;
}

// What a field does in this version.
struct FieldState {
  enum Kind { kActive, kNotYet, kIgnored };
  Kind kind = kActive;
  std::string reason;  // kIgnored: why for good
  std::string under;   // kNotYet: the switch without which it means nothing; that switch is refused itself
  bool needs_restart = true;  // false: a change in the file counts while the server runs

  FieldState Live() &&;
};

FieldState Active();
// Accepted and checked, without effect yet; named at start if it is set away from its default.
FieldState NotYet();
// The same, but means nothing unless `option` is on, which this version refuses: never named at start.
FieldState NotYetUnder(std::string option);
// Accepted and ignored for good.
FieldState Ignored(std::string reason);

}  // namespace phalanx
