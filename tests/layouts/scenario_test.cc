#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <numeric>

#include "parallel/comm/single/single_communicator.h"
#include "serve/engine/engine.h"
#include "serve/engine/process_executor.h"
#include "tests/golden/model_harness.h"

namespace phalanx {
namespace {

constexpr char kModel[] = PHX_SOURCE_DIR "/tests/golden/data/llama-f32/model";

// What one choice of a request came to. Compared with ==, log-probabilities too.
struct Choice {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;

  bool operator==(const Choice&) const = default;
};
using Outcome = std::vector<std::vector<Choice>>;  // by request, then by choice

std::vector<int32_t> Prompt(int index, int length) {
  std::vector<int32_t> prompt;
  for (int i = 0; i < length; ++i) prompt.push_back((index * 97 + i * 31 + 7) % 500);
  return prompt;
}

// Greedy and seeded requests, short and long, with penalties, choices and stop tokens.
std::vector<Request> Scenario() {
  std::vector<Request> requests;
  for (const int length : {1, 2, 15, 16, 17, 40, 90, 130}) {
    const int index = static_cast<int>(requests.size());
    Request request;
    request.prompt_token_ids = Prompt(index, length);
    request.max_tokens = 12 + 5 * (index % 3);
    request.sampling.num_logprobs = 5;
    request.sampling.seed = 1000u + static_cast<uint64_t>(index);
    request.sampling.temperature = index % 2 == 0 ? 0.0f : 1.0f;
    if (index == 3) request.sampling.top_k = 20;
    if (index == 5) request.n = 3;
    if (index == 7) {
      request.sampling.repetition_penalty = 1.3f;
      request.sampling.presence_penalty = 0.5f;
    }
    requests.push_back(std::move(request));
  }
  // Ends early: half of the vocabulary stops it.
  Request stopping;
  stopping.prompt_token_ids = Prompt(50, 20);
  stopping.max_tokens = 40;
  stopping.sampling.seed = 5;
  stopping.sampling.num_logprobs = 0;
  stopping.sampling.stop_token_ids.resize(50);
  std::iota(stopping.sampling.stop_token_ids.begin(), stopping.sampling.stop_token_ids.end(), 0);
  requests.push_back(std::move(stopping));
  return requests;
}

// Collects the outputs of requests. Any thread.
class Collector {
 public:
  explicit Collector(const std::vector<Request>& requests) {
    for (const Request& request : requests) outcome_.emplace_back(static_cast<size_t>(request.n));
  }
  void Submit(Engine* engine, const std::vector<Request>& requests, size_t index) {
    const auto id =
        engine->Submit(requests[index], [this, index](const RequestOutput& output) { Take(index, output); });
    ASSERT_TRUE(id.ok()) << id.status().ToString();
    ++submitted_;
  }
  bool Wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(120), [&] { return finished_ == submitted_; });
  }
  const Outcome& outcome() const { return outcome_; }

 private:
  void Take(size_t index, const RequestOutput& output) {
    const std::lock_guard lock(mutex_);
    for (const SequenceOutput& sequence : output.sequences) {
      Choice& choice = outcome_[index][static_cast<size_t>(sequence.index)];
      choice.tokens.insert(choice.tokens.end(), sequence.token_ids.begin(), sequence.token_ids.end());
      for (const TokenLogprobs& logprobs : sequence.logprobs) {
        choice.logprobs.push_back(logprobs.logprob);
        for (const auto& entry : logprobs.top) choice.logprobs.push_back(entry.logprob);
      }
    }
    if (output.finished) {
      EXPECT_TRUE(output.status.ok()) << output.status.ToString();
      ++finished_;
      changed_.notify_all();
    }
  }

  size_t submitted_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  Outcome outcome_;
  size_t finished_ = 0;
};

struct Run {
  bool crowd = true;  // all requests at once, or one after the other
  int64_t max_step_tokens = 8192;
};

Outcome RunScenario(ProcessExecutor* executor, const Run& run, int64_t* preemptions = nullptr) {
  const std::vector<Request> requests = Scenario();
  Collector collector(requests);
  EngineOptions options;
  options.max_seq_len = 200;
  options.max_input_tokens = 150;
  options.max_batch_size = 8;
  options.max_step_tokens = run.max_step_tokens;
  Engine engine(options, executor);
  engine.Start();
  for (size_t i = 0; i < requests.size(); ++i) {
    collector.Submit(&engine, requests, i);
    if (!run.crowd) {
      EXPECT_TRUE(collector.Wait());
    }
  }
  EXPECT_TRUE(collector.Wait());
  engine.Stop();
  if (preemptions != nullptr) {
    *preemptions = 0;
    for (const auto& group : engine.Stats().groups) *preemptions += group.preemptions;
  }
  return collector.outcome();
}

// The pool has room for `max_sequences` of the longest in each group.
std::unique_ptr<ProcessExecutor> StartRanks(int32_t dp, int32_t tp, int64_t max_sequences = 16) {
  ProcessExecutorOptions options;
  options.worker_program = PHX_BINARY_DIR "/mindie-service/bin/phalanx-worker";
  options.model_path = kModel;
  options.dp = dp;
  options.tp = tp;
  options.block_size = 16;
  options.kv_bytes_per_rank = int64_t{16} << 20;
  options.max_batch_size = max_sequences;
  options.max_seq_len = 200;
  options.log_level = "error";
  Result<std::unique_ptr<ProcessExecutor>> executor = ProcessExecutor::Start(options);
  EXPECT_TRUE(executor.ok()) << executor.status().ToString();
  return executor.ok() ? *std::move(executor) : nullptr;
}

// One rank, each request alone: what all others are held against.
const Outcome& Reference() {
  static const Outcome reference = [] {
    const auto executor = StartRanks(1, 1);
    return executor == nullptr ? Outcome() : RunScenario(executor.get(), {.crowd = false});
  }();
  return reference;
}

class LayoutTest : public testing::TestWithParam<std::pair<int, int>> {};

TEST_P(LayoutTest, GivesTheSameBits) {
  const auto [dp, tp] = GetParam();
  const Outcome& reference = Reference();
  ASSERT_FALSE(reference.empty());
  const auto executor = StartRanks(dp, tp);
  ASSERT_NE(executor, nullptr);
  // An engine counts its steps from 1, and so do ranks: a new one needs new ranks.
  const Outcome crowd = RunScenario(executor.get(), {});
  for (size_t i = 0; i < reference.size(); ++i) EXPECT_EQ(crowd[i], reference[i]) << "request " << i;
  const auto others = StartRanks(dp, tp);
  ASSERT_NE(others, nullptr);
  const Outcome chunked = RunScenario(others.get(), {.max_step_tokens = 24});
  for (size_t i = 0; i < reference.size(); ++i)
    EXPECT_EQ(chunked[i], reference[i]) << "request " << i << ", in chunks";
}

INSTANTIATE_TEST_SUITE_P(Layouts, LayoutTest,
                         testing::Values(std::pair(1, 1), std::pair(2, 1), std::pair(1, 2), std::pair(4, 1),
                                         std::pair(2, 2), std::pair(1, 4), std::pair(8, 1), std::pair(4, 2),
                                         std::pair(2, 4), std::pair(1, 8)),
                         [](const auto& layout) {
                           return "dp" + std::to_string(layout.param.first) + "_tp" +
                                  std::to_string(layout.param.second);
                         });

TEST(LayoutReferenceTest, PreemptedSequencesGiveTheSameBits) {
  const Outcome& reference = Reference();
  ASSERT_FALSE(reference.empty());
  for (const auto& [dp, tp] : {std::pair(1, 1), std::pair(2, 1), std::pair(1, 2)}) {
    const auto executor = StartRanks(dp, tp, 1);
    ASSERT_NE(executor, nullptr);
    int64_t preemptions = 0;
    const Outcome outcome = RunScenario(executor.get(), {.max_step_tokens = 64}, &preemptions);
    EXPECT_GT(preemptions, 0) << "dp " << dp << ", tp " << tp;
    for (size_t i = 0; i < reference.size(); ++i) {
      EXPECT_EQ(outcome[i], reference[i]) << "request " << i << ", dp " << dp << ", tp " << tp;
    }
  }
}

TEST(LayoutReferenceTest, GreedyTokensAreThoseOfTheModelInOneProcess) {
  const Outcome& reference = Reference();
  ASSERT_FALSE(reference.empty());
  const auto packed = PackedModel::Load(kModel);
  ASSERT_TRUE(packed.ok()) << packed.status().ToString();
  const std::vector<Request> requests = Scenario();
  SingleCommunicator alone;
  const auto harness = ModelHarness::Create(**packed, &alone, {});
  ASSERT_TRUE(harness.ok()) << harness.status().ToString();
  int checked = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    if (requests[i].sampling.temperature != 0) continue;
    const int sequence = (*harness)->AddSequence();
    std::vector<int32_t> tokens = requests[i].prompt_token_ids;
    for (const int32_t expected : reference[i][0].tokens) {
      const auto logits = (*harness)->Run({{sequence, tokens}}, false);
      ASSERT_TRUE(logits.ok()) << logits.status().ToString();
      const auto best =
          static_cast<int32_t>(std::max_element(logits->begin(), logits->end()) - logits->begin());
      ASSERT_EQ(best, expected) << "request " << i;
      tokens = {best};
    }
    ++checked;
  }
  EXPECT_GE(checked, 4);
  EXPECT_LT(reference.back()[0].tokens.size(), 40u)
      << "the request with many stop tokens was meant to stop early";
}

}  // namespace
}  // namespace phalanx
