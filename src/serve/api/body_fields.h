#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace phalanx {

// Strict reading of a request's JSON object, or of an object in it. Null counts as absent, fields that nobody asks for are
// ignored. Every error is InvalidArgument with the field as its param ("temperature", "stream_options.include_usage").
class BodyFields {
 public:
  // `json` must be an object and outlive this. `prefix` comes before the names in errors: "stream_options.".
  explicit BodyFields(const OrderedJson& json, std::string prefix = {})
      : json_(json), prefix_(std::move(prefix)) {}

  // Null if the field is absent or null.
  const OrderedJson* Find(std::string_view name) const;
  bool Has(std::string_view name) const { return Find(name) != nullptr; }

  // Absent fields leave *value as it is. Bounds are inclusive.
  Status ReadBool(std::string_view name, bool* value) const;
  Status ReadInt(std::string_view name, int64_t min, int64_t max, std::optional<int64_t>* value) const;
  Status ReadNumber(std::string_view name, double min, double max, std::optional<double>* value) const;
  Status ReadString(std::string_view name, std::optional<std::string>* value) const;
  // The object, or null if absent.
  Result<const OrderedJson*> ReadObject(std::string_view name) const;

  // "<name> must be <wanted>, got <kind of json>".
  Status WrongType(std::string_view name, std::string_view wanted, const OrderedJson& found) const;
  Status Error(std::string_view name, std::string message) const;

 private:
  const OrderedJson& json_;
  const std::string prefix_;
};

// Parses a request's body: an object, not too deep, no object with absurdly many members.
Result<OrderedJson> ParseBody(std::string_view body, int max_depth);

// Length in UTF-16 units, by which limits on text are meant.
size_t Utf16Length(std::string_view utf8);

}  // namespace phalanx
