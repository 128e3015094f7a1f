// The forward pass against transformers, on tiny models: every layer, the logits of every prompt, and greedy tokens.
#include <gtest/gtest.h>

#include <algorithm>

#include "parallel/comm/single/single_communicator.h"
#include "tests/golden/golden_case.h"
#include "tests/golden/model_harness.h"

namespace phalanx {
namespace {

class GoldenTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    golden_ = LoadGoldenCase(GetParam());
    Result<std::unique_ptr<PackedModel>> packed = PackedModel::Load(golden_.model_path);
    ASSERT_TRUE(packed.ok()) << packed.status().ToString();
    packed_ = std::move(packed).value();
  }
  std::unique_ptr<ModelHarness> NewHarness() {
    Result<std::unique_ptr<ModelHarness>> harness = ModelHarness::Create(*packed_, &alone_, {});
    CHECK(harness.ok());
    return std::move(harness).value();
  }
  std::vector<float> Run(ModelHarness& harness, int sequence, const std::vector<int32_t>& ids,
                         bool all_rows) {
    Result<std::vector<float>> logits = harness.Run({{sequence, ids}}, all_rows);
    CHECK(logits.ok());
    return std::move(logits).value();
  }
  const ModelConfig& config() const { return packed_->store().config(); }
  int64_t widest_sum() const { return std::max(config().hidden_size, config().intermediate_size); }

  GoldenCase golden_;
  std::unique_ptr<PackedModel> packed_;
  SingleCommunicator alone_;
};

TEST_P(GoldenTest, HiddenStates) {
  std::unique_ptr<ModelHarness> harness = NewHarness();
  const GoldenPrompt& prompt = golden_.prompts[0];
  int depth = 0;
  std::string first_wrong;
  harness->model().set_trace([&](std::string_view name, const float* values, int64_t rows, int64_t cols) {
    const GoldenArray* expected = golden_.Find("trace." + std::string(name));
    if (expected == nullptr || !first_wrong.empty()) return;
    ASSERT_EQ(expected->shape, (std::vector<int64_t>{rows, cols})) << name;
    const Difference worst = LargestDifference(values, *expected);
    const double allowed = GoldenTolerance(golden_, widest_sum(), depth++) * worst.scale;
    if (worst.difference <= allowed) return;
    first_wrong = std::string(name) + " at row " + std::to_string(worst.row) + ", column " +
                  std::to_string(worst.col) + ": off by " + std::to_string(worst.difference) + ", allowed " +
                  std::to_string(allowed);
  });
  const int sequence = harness->AddSequence(golden_.ReservedLength(static_cast<int64_t>(prompt.ids.size())));
  Run(*harness, sequence, prompt.ids, true);
  EXPECT_EQ(first_wrong, "") << "the first hidden state that differs";
  const int traced = golden_.Find("trace.embedding") != nullptr ? 3 * config().num_layers + 2 : 0;
  EXPECT_EQ(depth, traced);
}

TEST_P(GoldenTest, LogitsOfEveryPrompt) {
  for (size_t k = 0; k < golden_.prompts.size(); ++k) {
    const GoldenPrompt& prompt = golden_.prompts[k];
    const GoldenArray* expected = golden_.Find("prompt" + std::to_string(k) + ".logits");
    ASSERT_NE(expected, nullptr);
    std::unique_ptr<ModelHarness> harness = NewHarness();
    const int sequence =
        harness->AddSequence(golden_.ReservedLength(static_cast<int64_t>(prompt.ids.size())));
    const std::vector<float> logits = Run(*harness, sequence, prompt.ids, true);
    ASSERT_EQ(expected->cols(), harness->vocab_size());
    const int64_t skipped = static_cast<int64_t>(prompt.ids.size()) - expected->rows();
    const Difference worst = LargestDifference(logits.data() + skipped * expected->cols(), *expected);
    const double allowed = GoldenTolerance(golden_, widest_sum(), 3 * config().num_layers + 2) * worst.scale;
    RecordProperty("prompt" + std::to_string(k), std::to_string(worst.difference / allowed));
    EXPECT_LE(worst.difference, allowed) << "prompt " << k << " row " << worst.row << " token " << worst.col;
  }
}

TEST_P(GoldenTest, GreedyTokens) {
  const double allowed = GoldenTolerance(golden_, widest_sum(), 3 * config().num_layers + 2);
  int compared = 0, total = 0;
  for (size_t k = 0; k < golden_.prompts.size(); ++k) {
    const GoldenPrompt& prompt = golden_.prompts[k];
    if (prompt.greedy.empty()) continue;
    std::unique_ptr<ModelHarness> harness = NewHarness();
    const int sequence = harness->AddSequence();
    std::vector<float> logits = Run(*harness, sequence, prompt.ids, false);
    for (size_t step = 0; step < prompt.greedy.size(); ++step) {
      const int32_t best =
          static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
      const double scale = std::abs(*std::max_element(
          logits.begin(), logits.end(), [](float a, float b) { return std::abs(a) < std::abs(b); }));
      ++total;
      if (prompt.lead[step] > 2 * allowed * scale) {
        ++compared;
        ASSERT_EQ(best, prompt.greedy[step])
            << "prompt " << k << " step " << step << " lead " << prompt.lead[step];
      }
      // Goes on with the reference's token, so that one near tie does not end the comparison.
      logits = Run(*harness, sequence, {prompt.greedy[step]}, false);
    }
  }
  // A tolerance so wide that it excuses most steps would test nothing.
  EXPECT_GE(compared, total * (golden_.quantizes ? 0.3 : 0.9));
}

std::string TestName(const testing::TestParamInfo<std::string>& param) {
  std::string name = param.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTest, testing::ValuesIn(GoldenCaseNames()), TestName);

}  // namespace
}  // namespace phalanx
