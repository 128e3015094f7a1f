#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace phalanx {

// The stop strings of a request with the tables that find them in a growing text (Knuth, Morris, Pratt 1977: after each
// byte, the length of the longest prefix of the string that the text ends with). Immutable; shared by the request's choices.
class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> strings);

  bool empty() const { return strings_.empty(); }
  const std::string& string(size_t index) const { return strings_[index]; }

 private:
  friend class StopMatcher;

  std::vector<std::string> strings_;            // none is empty
  std::vector<std::vector<int32_t>> fallback_;  // [string][matched bytes]: the next shorter prefix that fits
};

// Looks for stop strings in one text that comes in pieces, and holds back what may become one.
class StopMatcher {
 public:
  explicit StopMatcher(std::shared_ptr<const StopStrings> stops);

  // Appends `piece` to the text and moves what certainly is no part of a stop string to *out. The index of the string
  // that the text now ends with, if one is complete: then *out has what comes before it, and the rest of `piece` is dropped.
  // The one that completes first wins; of two that complete together, the longer.
  std::optional<size_t> Push(std::string_view piece, std::string* out);
  // The text ends: what is held back is certain.
  void Finish(std::string* out);

 private:
  std::shared_ptr<const StopStrings> stops_;
  std::vector<int32_t> matched_;  // per string: length of its prefix that the text ends with
  std::string held_;              // the end of the text, as long as the longest of those prefixes
};

}  // namespace phalanx
