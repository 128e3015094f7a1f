#include "compute/worker/step_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace phalanx {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int32_t kVocabulary = 40;
constexpr int32_t kBlockSize = 4;
constexpr int64_t kNumBlocks = 16;

// Keeps tokens where a model keeps keys and values, in the slots that the block tables name, and predicts a
// function of all tokens up to a row: what it finds there must be the sequence's own.
class SlotModel final : public Model {
 public:
  static int32_t Next(const std::vector<int32_t>& tokens) {
    uint32_t hash = 17;
    for (const int32_t token : tokens) hash = hash * 31 + static_cast<uint32_t>(token) + 1;
    return static_cast<int32_t>(hash % kVocabulary);
  }

  Status Forward(const ForwardBatch& batch, std::span<float> logits) override {
    if (batch.num_tokens() == 0) return Status::Ok();
    ++num_forwards;
    max_logits_rows = std::max(max_logits_rows, batch.logits_rows.size());
    size_t wanted = 0;
    for (const ForwardSequence& sequence : batch.sequences) {
      for (int32_t row = 0; row < sequence.num_rows; ++row) {
        const int64_t position = sequence.first_position + row;
        Slot(sequence, position) = batch.token_ids[static_cast<size_t>(sequence.first_row + row)];
        const int64_t batch_row = sequence.first_row + row;
        if (wanted == batch.logits_rows.size() || batch.logits_rows[wanted] != batch_row) continue;
        std::vector<int32_t> tokens;
        for (int64_t p = 0; p <= position; ++p) tokens.push_back(Slot(sequence, p));
        const std::span<float> row_logits = logits.subspan(wanted++ * kVocabulary, kVocabulary);
        for (int32_t token = 0; token < kVocabulary; ++token)
          row_logits[static_cast<size_t>(token)] = -0.1f * static_cast<float>(token);
        row_logits[static_cast<size_t>(Next(tokens))] = 10;
      }
    }
    EXPECT_EQ(wanted, batch.logits_rows.size());
    return failure;
  }

  int num_forwards = 0;
  size_t max_logits_rows = 0;
  Status failure;

 private:
  int32_t& Slot(const ForwardSequence& sequence, int64_t position) {
    return slots_[sequence.block_table[position / kBlockSize] * kBlockSize + position % kBlockSize];
  }
  std::map<int64_t, int32_t> slots_;
};

class StepRunnerTest : public testing::Test {
 protected:
  StepRunnerTest() : kernels_(*SelectKernels("reference")), team_({-1, -1}) { Reset(256); }

  void Reset(int64_t max_logits_rows) {
    StepRunner::Options options;
    options.block_size = kBlockSize;
    options.num_blocks = kNumBlocks;
    options.vocab_size = kVocabulary;
    options.num_logits = kVocabulary;
    options.max_logits_rows = max_logits_rows;
    runner_ = std::make_unique<StepRunner>(options, kernels_, &team_, &model_);
  }

  static SequenceStart Start(SequenceId id, int32_t num_prompt_tokens) {
    SequenceStart start;
    start.id = id;
    start.num_prompt_tokens = num_prompt_tokens;
    start.sampling.temperature = 0;
    return start;
  }

  // The tokens that the model gives after the prompt, one by one.
  static std::vector<int32_t> Expected(std::vector<int32_t> tokens, int count) {
    std::vector<int32_t> output;
    for (int i = 0; i < count; ++i) {
      output.push_back(SlotModel::Next(tokens));
      tokens.push_back(output.back());
    }
    return output;
  }

  StepResult MustRun(const Batch& batch) {
    StepResult result;
    const Status status = runner_->Run(batch, &result);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return result;
  }

  const KernelTable* kernels_;
  ThreadTeam team_;
  SlotModel model_;
  std::unique_ptr<StepRunner> runner_;
};

TEST_F(StepRunnerTest, PromptsAndDecodesOfSeveralSequences) {
  Batch batch;
  batch.started = {Start(1, 3), Start(2, 6)};
  batch.steps = {{1, 0, 3, {5, 6, 7}, {3}, true}, {2, 0, 6, {1, 2, 3, 4, 5, 6}, {9, 2}, true}};
  StepResult result = MustRun(batch);
  EXPECT_EQ(result.num_tokens, 9);
  ASSERT_EQ(result.tokens.size(), 2u);
  const std::vector<int32_t> one = Expected({5, 6, 7}, 4), two = Expected({1, 2, 3, 4, 5, 6}, 4);
  EXPECT_EQ(result.tokens[0].id, 1u);
  EXPECT_EQ(result.tokens[0].token_id, one[0]);
  EXPECT_EQ(result.tokens[1].token_id, two[0]);
  for (size_t i = 1; i < 4; ++i) {
    Batch decode;
    const int64_t position = static_cast<int64_t>(i) + 2;
    decode.steps = {{2, position + 3, 1, {}, i == 3 ? std::vector<int32_t>{7} : std::vector<int32_t>{}, true},
                    {1, position, 1, {}, i == 2 ? std::vector<int32_t>{8} : std::vector<int32_t>{}, true}};
    result = MustRun(decode);
    EXPECT_EQ(result.tokens[0].token_id, two[i]);
    EXPECT_EQ(result.tokens[1].token_id, one[i]);
  }
}

TEST_F(StepRunnerTest, ChunksGiveTheTokenOfTheWhole) {
  const std::vector<int32_t> prompt = {4, 8, 15, 16, 23, 30, 1};
  Batch first, second;
  first.started = {Start(1, 7)};
  first.steps = {{1, 0, 5, {4, 8, 15, 16, 23}, {0, 5}, false}};
  second.steps = {{1, 5, 2, {30, 1}, {}, true}};
  EXPECT_THAT(MustRun(first).tokens, IsEmpty());
  EXPECT_EQ(MustRun(second).tokens[0].token_id, Expected(prompt, 1)[0]);
}

TEST_F(StepRunnerTest, RowsAfterAStopTokenAreSkipped) {
  const std::vector<int32_t> output = Expected({5}, 2);
  Batch batch;
  batch.started = {Start(1, 1), Start(2, 1)};
  batch.started[0].sampling.stop_token_ids = {output[0]};
  batch.steps = {{1, 0, 1, {5}, {3}, true}, {2, 0, 1, {5}, {4}, true}};
  StepResult result = MustRun(batch);
  EXPECT_TRUE(result.tokens[0].stopped);
  EXPECT_FALSE(result.tokens[1].stopped);

  Batch next;
  next.steps = {{1, 1, 1, {}, {}, true}, {2, 1, 1, {}, {}, true}};
  result = MustRun(next);
  ASSERT_EQ(result.tokens.size(), 2u);
  EXPECT_EQ(result.tokens[0].id, 1u);
  EXPECT_EQ(result.tokens[0].token_id, SampledToken::kSkipped);
  EXPECT_EQ(result.tokens[1].token_id, output[1]);
  EXPECT_EQ(result.num_tokens, 1);
}

TEST_F(StepRunnerTest, ARestartForgetsBlocksAndGoesOn) {
  const std::vector<int32_t> output = Expected({5, 6}, 3);
  Batch batch;
  batch.started = {Start(1, 2)};
  batch.steps = {{1, 0, 2, {5, 6}, {3}, true}};
  MustRun(batch);
  Batch again;
  again.ended = {1};
  again.started = {Start(1, 2)};
  again.steps = {{1, 0, 3, {5, 6, output[0]}, {11}, true}};
  EXPECT_EQ(MustRun(again).tokens[0].token_id, output[1]);
  Batch decode;
  decode.steps = {{1, 3, 1, {}, {}, true}};
  EXPECT_EQ(MustRun(decode).tokens[0].token_id, output[2]);
}

TEST_F(StepRunnerTest, ARepeatedStepGivesTheSame) {
  Batch batch;
  batch.started = {Start(1, 2)};
  batch.started[0].sampling.repetition_penalty = 1.5f;
  batch.steps = {{1, 0, 2, {5, 6}, {3}, true}};
  const int32_t token = MustRun(batch).tokens[0].token_id;
  batch.started.clear();
  batch.steps[0].new_block_ids.clear();
  EXPECT_EQ(MustRun(batch).tokens[0].token_id, token);
}

TEST_F(StepRunnerTest, PromptLogprobsCoverEveryTokenOnceHoweverItIsCut) {
  const std::vector<int32_t> prompt = {4, 8, 15, 16, 23, 30, 1, 2, 3, 9, 10, 11};
  std::vector<float> whole;
  for (const std::vector<int32_t>& chunks : {std::vector<int32_t>{12}, {5, 7}, {1, 1, 10}, {4, 4, 4}}) {
    for (const int64_t max_logits_rows : {256, 3, 1}) {
      Reset(max_logits_rows);
      model_.max_logits_rows = 0;
      std::vector<float> logprobs;
      int64_t next_position = 1;
      int32_t first = 0;
      for (const int32_t count : chunks) {
        Batch batch;
        SequenceStep step{1,     first,
                          count, {prompt.begin() + first, prompt.begin() + first + count},
                          {},    first + count == 12};
        if (first == 0) {
          batch.started = {Start(1, 12)};
          batch.started[0].sampling.num_prompt_logprobs = 2;
          step.new_block_ids = {1, 9, 4};
        }
        batch.steps = {step};
        first += count;
        const StepResult result = MustRun(batch);
        ASSERT_EQ(result.prompt_logprobs.size(), 1u);
        EXPECT_TRUE(result.prompt_logprobs[0].tokens.empty() ||
                    result.prompt_logprobs[0].first_position == next_position);
        for (const TokenLogprobs& token : result.prompt_logprobs[0].tokens) {
          EXPECT_EQ(token.token_id, prompt[static_cast<size_t>(next_position++)]);
          EXPECT_EQ(token.top.size(), 2u);
          logprobs.push_back(token.logprob);
        }
        EXPECT_EQ(result.tokens.size(), first == 12 ? 1u : 0u);
      }
      EXPECT_EQ(next_position, 12);
      EXPECT_LE(model_.max_logits_rows, static_cast<size_t>(max_logits_rows));
      if (whole.empty()) whole = logprobs;
      EXPECT_EQ(logprobs, whole);
    }
  }
}

TEST_F(StepRunnerTest, ManySamplingRowsAreComputedInPortions) {
  Reset(3);
  Batch batch;
  for (SequenceId id = 1; id <= 10; ++id) {
    batch.started.push_back(Start(id, 2));
    batch.steps.push_back({id, 0, 2, {static_cast<int32_t>(id), 5}, {static_cast<int32_t>(id)}, true});
  }
  const StepResult result = MustRun(batch);
  EXPECT_EQ(model_.num_forwards, 4);
  ASSERT_EQ(result.tokens.size(), 10u);
  for (size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(result.tokens[i].id, i + 1);
    EXPECT_EQ(result.tokens[i].token_id, Expected({static_cast<int32_t>(i) + 1, 5}, 1)[0]);
  }
}

TEST_F(StepRunnerTest, LogprobsOfSampledTokens) {
  Batch batch;
  batch.started = {Start(1, 1)};
  batch.started[0].sampling.num_logprobs = 3;
  batch.steps = {{1, 0, 1, {5}, {3}, true}};
  const StepResult result = MustRun(batch);
  ASSERT_TRUE(result.tokens[0].has_logprobs);
  EXPECT_EQ(result.tokens[0].logprobs.token_id, result.tokens[0].token_id);
  EXPECT_EQ(result.tokens[0].logprobs.top.size(), 3u);
}

TEST_F(StepRunnerTest, AnEmptyBatchComputesNothing) {
  const StepResult result = MustRun(Batch());
  EXPECT_EQ(result.num_tokens, 0);
  EXPECT_EQ(model_.num_forwards, 0);
}

TEST_F(StepRunnerTest, TheModelsErrorEndsTheStepAndNotTheRunner) {
  Batch batch;
  batch.started = {Start(1, 1)};
  batch.steps = {{1, 0, 1, {5}, {3}, true}};
  StepResult result;
  model_.failure = Unavailable("rank 1 is gone");
  EXPECT_EQ(runner_->Run(batch, &result).message(), "rank 1 is gone");
  model_.failure = Status::Ok();
  EXPECT_EQ(MustRun(batch).tokens[0].token_id, Expected({5}, 1)[0]);
}

TEST_F(StepRunnerTest, PlansThatContradictAreRefused) {
  const auto run = [&](SequenceStep step, bool started) {
    Reset(256);
    Batch batch;
    if (started) batch.started = {Start(1, 2)};
    batch.steps = {std::move(step)};
    StepResult result;
    return runner_->Run(batch, &result).message();
  };
  EXPECT_THAT(run({1, 0, 1, {5}, {3}, true}, false), HasSubstr("before its start"));
  EXPECT_THAT(run({1, 0, 1, {5}, {}, true}, true), HasSubstr("with 0 blocks"));
  EXPECT_THAT(run({1, 0, 5, {1, 2, 3, 4, 5}, {3}, true}, true), HasSubstr("with 1 blocks"));
  EXPECT_THAT(run({1, 0, 1, {5}, {16}, true}, true), HasSubstr("block 16"));
  EXPECT_THAT(run({1, 0, 1, {5}, {-1}, true}, true), HasSubstr("block -1"));
  EXPECT_THAT(run({1, 0, 1, {40}, {1}, true}, true), HasSubstr("token 40"));
  EXPECT_THAT(run({1, 0, 2, {4}, {1}, true}, true), HasSubstr("1 tokens for 2 rows"));
  EXPECT_THAT(run({1, 0, 1, {}, {1}, true}, true), HasSubstr("that there is not"));
  EXPECT_THAT(run({1, -1, 1, {4}, {1}, true}, true), HasSubstr("no rows"));
  EXPECT_THAT(run({1, 0, 0, {}, {1}, true}, true), HasSubstr("no rows"));
}

}  // namespace
}  // namespace phalanx
