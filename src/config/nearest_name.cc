#include "config/nearest_name.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdlib>

namespace phalanx {
namespace {

// Longer names are compared by their beginning; nobody misspells more than that.
constexpr size_t kMaxCompared = 64;

std::string Lower(std::string_view name) {
  std::string lower(name.substr(0, kMaxCompared));
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

}  // namespace

int EditDistance(std::string_view a_name, std::string_view b_name) {
  const std::string a = Lower(a_name), b = Lower(b_name);
  // Rows of the optimal string alignment table for i - 2, i - 1 and i characters of a.
  std::vector<int> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    before.swap(above);
    above.swap(row);
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

std::string NearestName(std::string_view name, const std::vector<std::string>& names) {
  std::string nearest;
  int fewest = std::min<int>(3, static_cast<int>(name.size()) / 3) + 1;
  const auto length = static_cast<int64_t>(name.size());
  for (const std::string& candidate : names) {
    // The lengths alone already tell of so many edits.
    if (std::abs(length - static_cast<int64_t>(candidate.size())) >= fewest) continue;
    int distance = EditDistance(name, candidate);
    if (distance < fewest) {
      fewest = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

}  // namespace phalanx
