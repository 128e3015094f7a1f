#pragma once

#include <cmath>
#include <optional>
#include <string>

#include "base/file.h"
#include "base/json.h"
#include "base/status.h"

namespace phalanx {

// The JSON document in a file. NotFound, or InvalidArgument naming the file.
inline Result<Json> ReadJsonFile(const std::string& path) {
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  Result<Json> parsed = ParseJson({reinterpret_cast<const char*>(file.data()), file.size()});
  if (!parsed.ok()) return InvalidArgument(path + ": " + parsed.status().message());
  return parsed;
}

// Typed access to the fields of one JSON object. null counts as absent. The first wrong type is kept as status(), naming file and
// field; reading goes on with the fallback.
class JsonFields {
 public:
  // `object` outlives the reader. `where` begins the messages: the file, and the object inside it.
  JsonFields(std::string where, const Json& object) : where_(std::move(where)), object_(object) {}

  const Status& status() const { return status_; }
  const std::string& where() const { return where_; }

  const Json* Find(const char* key) const {
    if (!object_.is_object()) return nullptr;
    auto it = object_.find(key);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }
  bool Has(const char* key) const { return Find(key) != nullptr; }
  // Whether the key is there, be it null.
  bool Mentions(const char* key) const { return object_.is_object() && object_.contains(key); }

  int64_t Integer(const char* key, int64_t fallback) {
    const Json* value = Find(key);
    if (value == nullptr) return fallback;
    if (value->is_number_unsigned() && value->get<uint64_t>() > INT64_MAX)
      return Wrong(key, "an integer in range"), fallback;
    if (value->is_number_integer()) return value->get<int64_t>();
    if (value->is_number_float()) {
      const double number = value->get<double>();
      if (std::floor(number) == number && std::fabs(number) < 9e15) return static_cast<int64_t>(number);
    }
    return Wrong(key, "an integer"), fallback;
  }
  int64_t RequiredInteger(const char* key) {
    if (!Has(key)) Fail(InvalidArgument(where_ + ": '" + key + "' is missing"));
    return Integer(key, 0);
  }
  double Number(const char* key, double fallback) {
    const Json* value = Find(key);
    if (value == nullptr) return fallback;
    if (value->is_number()) return value->get<double>();
    return Wrong(key, "a number"), fallback;
  }
  std::optional<double> OptionalNumber(const char* key) {
    if (!Has(key)) return std::nullopt;
    return Number(key, 0);
  }
  bool Bool(const char* key, bool fallback) {
    const Json* value = Find(key);
    if (value == nullptr) return fallback;
    if (value->is_boolean()) return value->get<bool>();
    return Wrong(key, "true or false"), fallback;
  }
  std::string Text(const char* key, std::string fallback) {
    const Json* value = Find(key);
    if (value == nullptr) return fallback;
    if (value->is_string()) return value->get<std::string>();
    return Wrong(key, "a string"), fallback;
  }
  std::vector<float> Floats(const char* key) {
    const Json* value = Find(key);
    std::vector<float> numbers;
    if (value == nullptr) return numbers;
    if (!value->is_array()) return Wrong(key, "a list of numbers"), numbers;
    for (const Json& number : *value) {
      if (!number.is_number()) return Wrong(key, "a list of numbers"), numbers;
      numbers.push_back(number.get<float>());
    }
    return numbers;
  }
  void Fail(Status status) {
    if (status_.ok()) status_ = std::move(status);
  }

 private:
  void Wrong(const char* key, const std::string& expected) {
    Fail(InvalidArgument(where_ + ": '" + key + "' is not " + expected));
  }

  std::string where_;
  const Json& object_;
  Status status_;
};

}  // namespace phalanx
