// The same bits whatever the layout: a row's logits don't depend on ranks, threads, chunks, company or kernel table.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "compute/layers/tensor_parallel.h"
#include "parallel/comm/single/single_communicator.h"
#include "testing/run_ranks.h"
#include "tests/golden/golden_case.h"
#include "tests/golden/model_harness.h"

namespace phalanx {
namespace {

struct Scenario {
  HarnessOptions harness;
  int64_t chunk = 1000;  // prompt tokens per step
  bool crowd = false;    // other sequences, longer and shorter, run in the same steps
};

// Logits of every position of the prompt and of the reference's next tokens, fed one by one.
std::vector<float> RunScenario(const GoldenCase& golden, const PackedModel& packed, Communicator& tp,
                               const Scenario& scenario) {
  Result<std::unique_ptr<ModelHarness>> created = ModelHarness::Create(packed, &tp, scenario.harness);
  CHECK(created.ok());
  ModelHarness& harness = **created;
  std::vector<int32_t> tokens = golden.prompts.back().ids;
  const size_t prompt_length = tokens.size();
  for (int32_t token : {5, 17, 3, 99}) tokens.push_back(token);

  if (scenario.crowd) harness.AddSequence();
  const int own = harness.AddSequence(golden.ReservedLength(static_cast<int64_t>(tokens.size())));
  if (scenario.crowd) harness.AddSequence();
  std::vector<float> all;
  const size_t vocab = static_cast<size_t>(harness.vocab_size());
  for (size_t at = 0, round = 0; at < tokens.size(); ++round) {
    const size_t length =
        at < prompt_length ? std::min(static_cast<size_t>(scenario.chunk), prompt_length - at) : 1;
    std::vector<HarnessStep> steps;
    if (scenario.crowd) steps.push_back({own - 1, std::vector<int32_t>(round % 3 == 0 ? 11 : 1, 8)});
    const size_t first_row = scenario.crowd ? steps[0].tokens.size() : 0;
    steps.push_back(
        {own, {tokens.begin() + static_cast<long>(at), tokens.begin() + static_cast<long>(at + length)}});
    if (scenario.crowd) steps.push_back({own + 1, std::vector<int32_t>(round == 0 ? 40 : 1, 31)});
    Result<std::vector<float>> logits = harness.Run(steps, true);
    CHECK(logits.ok());
    const auto begin = logits->begin() + static_cast<long>(first_row * vocab);
    all.insert(all.end(), begin, begin + static_cast<long>(length * vocab));
    at += length;
  }
  return all;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class LayoutsTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    golden_ = LoadGoldenCase(GetParam());
    Result<std::unique_ptr<PackedModel>> packed = PackedModel::Load(golden_.model_path);
    ASSERT_TRUE(packed.ok()) << packed.status().ToString();
    packed_ = std::move(packed).value();
    plain_ = Alone({});
  }
  std::vector<float> Alone(const Scenario& scenario) {
    SingleCommunicator single;
    return RunScenario(golden_, *packed_, single, scenario);
  }

  GoldenCase golden_;
  std::unique_ptr<PackedModel> packed_;
  std::vector<float> plain_;  // one rank, one thread, unchunked, alone, best kernels
};

TEST_P(LayoutsTest, KernelTables) {
  for (std::string_view name : KernelTableNames()) {
    if (!KernelTableRuns(name)) {
      std::printf("skipped: kernel table %s does not run on this CPU\n", std::string(name).c_str());
      continue;
    }
    Scenario scenario;
    scenario.harness.kernels = name;
    EXPECT_TRUE(SameBits(Alone(scenario), plain_)) << name;
  }
}

TEST_P(LayoutsTest, Threads) {
  for (int threads : {2, 3}) {
    Scenario scenario;
    scenario.harness.threads = threads;
    EXPECT_TRUE(SameBits(Alone(scenario), plain_)) << threads << " threads";
  }
}

TEST_P(LayoutsTest, Chunks) {
  for (int64_t chunk : {1, 7, 16, 33}) {
    Scenario scenario;
    scenario.chunk = chunk;
    EXPECT_TRUE(SameBits(Alone(scenario), plain_)) << "chunks of " << chunk;
  }
}

TEST_P(LayoutsTest, Company) {
  for (int64_t chunk : {5, 1000}) {
    Scenario scenario;
    scenario.crowd = true;
    scenario.chunk = chunk;
    scenario.harness.threads = 2;
    EXPECT_TRUE(SameBits(Alone(scenario), plain_)) << "chunks of " << chunk;
  }
}

TEST_P(LayoutsTest, HalfPrecisionCacheKeepsTheRules) {
  Scenario scenario;
  scenario.harness.format = KvFormat::kF16;
  const std::vector<float> plain = Alone(scenario);
  scenario.chunk = 9;
  scenario.crowd = true;
  scenario.harness.threads = 2;
  EXPECT_TRUE(SameBits(Alone(scenario), plain));
}

TEST_P(LayoutsTest, TensorParallel) {
  int splits = 0;
  for (int tp : {1, 2, 4, 8}) {
    if (!CheckTensorParallel(packed_->store().config(), tp).ok()) continue;
    ++splits;
    std::vector<std::vector<float>> results(static_cast<size_t>(tp));
    RunRanks(tp, [&](int rank, Communicator& group) {
      Scenario scenario;
      scenario.chunk = 30;
      scenario.crowd = rank >= 0 && tp == 2;
      scenario.harness.threads = tp == 2 ? 2 : 1;
      results[static_cast<size_t>(rank)] = RunScenario(golden_, *packed_, group, scenario);
    });
    for (int rank = 0; rank < tp; ++rank) {
      EXPECT_TRUE(SameBits(results[static_cast<size_t>(rank)], plain_)) << "rank " << rank << " of tp " << tp;
    }
  }
  // Models that are made to be split 8 ways must not pass by being split nowhere.
  const bool wide = golden_.name.starts_with("wide") || golden_.name.starts_with("gguf") ||
                    golden_.name.starts_with("llama");
  EXPECT_EQ(splits, wide ? 4 : splits);
}

std::string TestName(const testing::TestParamInfo<std::string>& param) {
  std::string name = param.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, LayoutsTest,
                         testing::Values("llama-f32", "llama-bf16", "mistral-f32", "bias-f32",
                                         "rope-dynamic-f16", "wide-f16", "gguf-mixed", "gguf-q8_0",
                                         "gguf-q4_0", "gguf-q4_1"),
                         TestName);

// The same 16-bit weights, from safetensors shards and from a GGUF file with permuted rows: only the rope divisors, stored as
// floats, are rounded differently.
TEST(CheckpointSources, GgufAndSafetensorsAgree) {
  const GoldenCase wide = LoadGoldenCase("wide-f16"), gguf = LoadGoldenCase("gguf-f16");
  std::vector<float> results[2];
  for (int i = 0; i < 2; ++i) {
    Result<std::unique_ptr<PackedModel>> packed =
        PackedModel::Load(i == 0 ? wide.model_path : gguf.model_path);
    ASSERT_TRUE(packed.ok()) << packed.status().ToString();
    SingleCommunicator single;
    results[i] = RunScenario(wide, **packed, single, {});
  }
  ASSERT_EQ(results[0].size(), results[1].size());
  float largest = 0, difference = 0;
  for (size_t i = 0; i < results[0].size(); ++i) {
    largest = std::max(largest, std::abs(results[0][i]));
    difference = std::max(difference, std::abs(results[0][i] - results[1][i]));
  }
  EXPECT_LT(difference, largest * 1e-4f);
}

TEST(TensorParallel, RefusalNamesWhatFits) {
  Result<std::unique_ptr<PackedModel>> packed = PackedModel::Load(LoadGoldenCase("mistral-f32").model_path);
  ASSERT_TRUE(packed.ok()) << packed.status().ToString();
  const Status status = CheckTensorParallel((*packed)->store().config(), 8);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("tp 8"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("4 attention heads"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("possible tp: 1, 2, 4"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace phalanx
