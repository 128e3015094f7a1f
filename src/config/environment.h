#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace phalanx {

// A copy of the environment variables, so that what is read from them can be tested.
class Environment {
 public:
  // Nothing is set.
  Environment() = default;
  explicit Environment(std::map<std::string, std::string> variables) : variables_(std::move(variables)) {}

  // The variables of this process, as they are now.
  static Environment OfProcess();

  // The variable's value; nothing if it is unset, empty or longer than 256 characters (see TooLong).
  std::optional<std::string> Get(std::string_view name) const;
  // Whether the variable is set to a value that is ignored for its length.
  bool TooLong(std::string_view name) const;

 private:
  std::map<std::string, std::string> variables_;
};

// Variables that locate the file or replace one of its fields; those that are settings of their own are the
// fields of EnvironmentConfig. For the generated reference and for "ignored for its length" warnings.
struct EnvironmentVariable {
  std::string_view name;
  std::string_view meaning;
};
extern const EnvironmentVariable kLocatingVariables[7];

}  // namespace phalanx
