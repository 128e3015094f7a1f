#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace phalanx {

using Json = nlohmann::json;
// Keeps members in the order of the text or of insertion.
using OrderedJson = nlohmann::ordered_json;

// Parses one JSON document. InvalidArgument, with the position, for anything that is not JSON (bad UTF-8
// included) or nests deeper than `max_depth`. Never throws. The result's own accessors throw on wrong types:
// test with is_*() first or use the readers below.
Result<Json> ParseJson(std::string_view text, int max_depth = 100);
Result<OrderedJson> ParseOrderedJson(std::string_view text, int max_depth = 100);

// Compact text; bytes that are not UTF-8 become U+FFFD. Never throws.
std::string DumpJson(const Json& json);
std::string DumpJson(const OrderedJson& json);

// Read member `key` of an object. InvalidArgument, naming the key, if `json` is no object, lacks it, or it
// has another type; numbers must be integers within int64.
Result<std::string> JsonString(const Json& json, std::string_view key);
Result<int64_t> JsonInt(const Json& json, std::string_view key);
Result<bool> JsonBool(const Json& json, std::string_view key);
Result<double> JsonDouble(const Json& json, std::string_view key);
Result<std::vector<int>> JsonInts(const Json& json, std::string_view key);

}  // namespace phalanx
