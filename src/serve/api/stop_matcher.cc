#include "serve/api/stop_matcher.h"

#include <algorithm>

#include "base/check.h"

namespace phalanx {

StopStrings::StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {
  for (const std::string& string : strings_) {
    CHECK(!string.empty());
    std::vector<int32_t> fallback(string.size() + 1, 0);
    int32_t matched = 0;
    for (size_t i = 1; i < string.size(); ++i) {
      while (matched > 0 && string[i] != string[static_cast<size_t>(matched)]) {
        matched = fallback[static_cast<size_t>(matched)];
      }
      if (string[i] == string[static_cast<size_t>(matched)]) ++matched;
      fallback[i + 1] = matched;
    }
    fallback_.push_back(std::move(fallback));
  }
}

StopMatcher::StopMatcher(std::shared_ptr<const StopStrings> stops)
    : stops_(std::move(stops)), matched_(stops_->strings_.size(), 0) {}

std::optional<size_t> StopMatcher::Push(std::string_view piece, std::string* out) {
  if (stops_->empty()) {
    out->append(piece);
    return std::nullopt;
  }
  for (const char c : piece) {
    held_.push_back(c);
    std::optional<size_t> complete;
    for (size_t s = 0; s < matched_.size(); ++s) {
      const std::string& string = stops_->strings_[s];
      size_t matched = static_cast<size_t>(matched_[s]);
      while (matched > 0 && string[matched] != c)
        matched = static_cast<size_t>(stops_->fallback_[s][matched]);
      if (string[matched] == c) ++matched;
      if (matched == string.size()) {
        if (!complete || string.size() > stops_->strings_[*complete].size()) complete = s;
        matched = static_cast<size_t>(stops_->fallback_[s][matched]);
      }
      matched_[s] = static_cast<int32_t>(matched);
    }
    if (complete) {
      out->append(held_, 0, held_.size() - stops_->strings_[*complete].size());
      held_.clear();
      return complete;
    }
  }
  const size_t keep = static_cast<size_t>(*std::max_element(matched_.begin(), matched_.end()));
  out->append(held_, 0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return std::nullopt;
}

void StopMatcher::Finish(std::string* out) {
  out->append(held_);
  held_.clear();
}

}  // namespace phalanx
