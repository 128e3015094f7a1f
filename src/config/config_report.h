#pragma once

#include <string>
#include <vector>

namespace phalanx {

// One thing that is wrong with a configuration.
struct ConfigProblem {
  std::string field;   // "ServerConfig.port"; empty for the file as a whole
  std::string text;    // "found 80; allowed: 1024 to 65535"
  bool later = false;  // valid, but this version can't do it yet
};

// What the parts of the loader find out, gathered so that it can be told together.
struct ConfigReport {
  std::vector<ConfigProblem> problems;
  std::vector<std::string> warnings;
  std::vector<std::string> adjustments;

  void Found(std::string field, const std::string& found, const std::string& allowed) {
    problems.push_back({std::move(field), "found " + found + "; allowed: " + allowed, false});
  }
  void Problem(std::string field, std::string text) {
    problems.push_back({std::move(field), std::move(text), false});
  }
  void Later(std::string field, const std::string& found, const std::string& reason) {
    problems.push_back(
        {std::move(field), "found " + found + ", which this version can't do: " + reason, true});
  }
  void Warn(std::string text) { warnings.push_back(std::move(text)); }
  void Adjusted(std::string text) { adjustments.push_back(std::move(text)); }
};

}  // namespace phalanx
