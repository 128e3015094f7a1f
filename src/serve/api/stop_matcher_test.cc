#include "serve/api/stop_matcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace phalanx {
namespace {

struct Outcome {
  std::string text;
  std::string stop;  // empty: none
};

// The whole text in pieces of `piece` bytes.
Outcome InPieces(const std::vector<std::string>& stops, const std::string& text, size_t piece) {
  const auto strings = std::make_shared<const StopStrings>(stops);
  StopMatcher matcher(strings);
  Outcome outcome;
  for (size_t at = 0; at < text.size(); at += piece) {
    if (const auto stop = matcher.Push(std::string_view(text).substr(at, piece), &outcome.text)) {
      outcome.stop = strings->string(*stop);
      return outcome;
    }
  }
  matcher.Finish(&outcome.text);
  return outcome;
}

// The rule, said plainly: the first place where a string ends; of several the longest.
Outcome Plain(const std::vector<std::string>& stops, const std::string& text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::string best;
    for (const std::string& stop : stops) {
      if (stop.size() <= end && text.compare(end - stop.size(), stop.size(), stop) == 0 &&
          stop.size() > best.size()) {
        best = stop;
      }
    }
    if (!best.empty()) return {text.substr(0, end - best.size()), best};
  }
  return {text, ""};
}

TEST(StopMatcherTest, FindsAcrossPiecesAndHoldsBack) {
  const auto strings = std::make_shared<const StopStrings>(std::vector<std::string>{"STOP"});
  StopMatcher matcher(strings);
  std::string out;
  EXPECT_FALSE(matcher.Push("say ST", &out));
  EXPECT_EQ(out, "say ");
  EXPECT_FALSE(matcher.Push("ST", &out));
  EXPECT_EQ(out, "say ST");
  EXPECT_TRUE(matcher.Push("OP now", &out));
  EXPECT_EQ(out, "say ST");
}

TEST(StopMatcherTest, RandomTextsAgreeWithThePlainSearch) {
  std::mt19937 random(3);
  const auto letters = [&](size_t length) {
    std::string text;
    for (size_t i = 0; i < length; ++i) text.push_back(static_cast<char>('a' + random() % 2));
    return text;
  };
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::string> stops;
    for (size_t i = 0; i < 1 + random() % 3; ++i) stops.push_back(letters(1 + random() % 7));
    const std::string text = letters(random() % 40);
    const Outcome expected = Plain(stops, text);
    for (const size_t piece : {1, 2, 5, 100}) {
      const Outcome found = InPieces(stops, text, piece);
      ASSERT_EQ(found.text, expected.text) << text;
      ASSERT_EQ(found.stop, expected.stop) << text;
    }
  }
}

TEST(StopMatcherTest, WithoutStringsEverythingPasses) {
  EXPECT_EQ(InPieces({}, "anything", 3).text, "anything");
}

TEST(StopMatcherTest, LongRepetitiveStringsAreNotQuadratic) {
  const std::string stop = std::string(32000, 'a') + "b";
  const std::string text(200000, 'a');
  EXPECT_EQ(InPieces({stop}, text, 4).text.size(), text.size());
}

}  // namespace
}  // namespace phalanx
