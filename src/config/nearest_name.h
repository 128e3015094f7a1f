#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace phalanx {

// Single-character edits (insert, delete, replace, swap of neighbours) between two names; case does not
// count.
int EditDistance(std::string_view a, std::string_view b);

// The name in `names` that `name` most likely means: fewest edits, at most a third of its length and at
// most 3. Empty if none is that near.
std::string NearestName(std::string_view name, const std::vector<std::string>& names);

}  // namespace phalanx
