#include "plan/codec.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace phalanx {
namespace {

StepPlan SomePlan() {
  StepPlan plan;
  plan.step_id = 77;
  plan.domain = 3;
  plan.batches.resize(2);
  Batch& batch = plan.batches[0];
  batch.ended = {5, 6};
  SequenceStart start;
  start.id = 8;
  start.choice = 2;
  start.num_prompt_tokens = 4;
  start.reserved_length = 99;
  start.sampling = {0.5f, 40, 0.9f, 0.1f, 1.1f, 0.2f, -0.3f, 0xfeedfacecafebeefULL, 5, 2, {2, 7}};
  batch.started = {start};
  batch.steps = {{8, 0, 4, {1, 2, 3, 4}, {10, 11}, true}, {9, 17, 1, {}, {}, true}};
  return plan;
}

StepResult SomeResult() {
  StepResult result;
  result.step_id = 9;
  result.domain = 1;
  result.status = Unavailable("rank 1 is gone");
  result.failed_rank = 1;
  SampledToken plain;
  plain.id = 4;
  plain.token_id = 17;
  plain.stopped = true;
  SampledToken with_logprobs = plain;
  with_logprobs.has_logprobs = true;
  with_logprobs.logprobs = {17, -0.5f, {{17, -0.5f}, {3, -1.5f}}};
  result.tokens = {plain, with_logprobs};
  result.prompt_logprobs = {{4, 1, {{3, -2.0f, {}}, {5, -1.0f, {{5, -1.0f}}}}}};
  result.num_tokens = 12;
  result.seconds = 0.25;
  return result;
}

TEST(CodecTest, PlansComeBackAsTheyWere) {
  std::vector<std::byte> bytes(4096);
  const StepPlan plan = SomePlan();
  const Result<size_t> size = EncodeStepPlan(plan, bytes);
  ASSERT_TRUE(size.ok());
  StepPlan back;
  back.batches.resize(7);  // what was there before is gone
  ASSERT_TRUE(DecodeStepPlan(std::span(bytes).first(*size), &back).ok());
  EXPECT_EQ(back.step_id, 77u);
  EXPECT_EQ(back.domain, 3);
  ASSERT_EQ(back.batches.size(), 2u);
  EXPECT_EQ(back.batches[0].ended, plan.batches[0].ended);
  ASSERT_EQ(back.batches[0].started.size(), 1u);
  const SequenceStart& start = back.batches[0].started[0];
  EXPECT_EQ(start.id, 8u);
  EXPECT_EQ(start.choice, 2);
  EXPECT_EQ(start.num_prompt_tokens, 4);
  EXPECT_EQ(start.reserved_length, 99);
  EXPECT_EQ(start.sampling.temperature, 0.5f);
  EXPECT_EQ(start.sampling.top_k, 40);
  EXPECT_EQ(start.sampling.top_p, 0.9f);
  EXPECT_EQ(start.sampling.min_p, 0.1f);
  EXPECT_EQ(start.sampling.repetition_penalty, 1.1f);
  EXPECT_EQ(start.sampling.presence_penalty, 0.2f);
  EXPECT_EQ(start.sampling.frequency_penalty, -0.3f);
  EXPECT_EQ(start.sampling.seed, 0xfeedfacecafebeefULL);
  EXPECT_EQ(start.sampling.num_logprobs, 5);
  EXPECT_EQ(start.sampling.num_prompt_logprobs, 2);
  EXPECT_EQ(start.sampling.stop_token_ids, (std::vector<int32_t>{2, 7}));
  ASSERT_EQ(back.batches[0].steps.size(), 2u);
  EXPECT_EQ(back.batches[0].steps[0].token_ids, (std::vector<int32_t>{1, 2, 3, 4}));
  EXPECT_EQ(back.batches[0].steps[0].new_block_ids, (std::vector<int32_t>{10, 11}));
  EXPECT_EQ(back.batches[0].steps[1].id, 9u);
  EXPECT_EQ(back.batches[0].steps[1].first_position, 17);
  EXPECT_EQ(back.batches[0].steps[1].num_new_tokens, 1);
  EXPECT_TRUE(back.batches[0].steps[1].samples);
  EXPECT_TRUE(back.batches[1].steps.empty());
}

TEST(CodecTest, ResultsComeBackAsTheyWere) {
  std::vector<std::byte> bytes(4096);
  const Result<size_t> size = EncodeStepResult(SomeResult(), bytes);
  ASSERT_TRUE(size.ok());
  StepResult back;
  ASSERT_TRUE(DecodeStepResult(std::span(bytes).first(*size), &back).ok());
  EXPECT_EQ(back.step_id, 9u);
  EXPECT_EQ(back.domain, 1);
  EXPECT_EQ(back.status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(back.status.message(), "rank 1 is gone");
  EXPECT_EQ(back.failed_rank, 1);
  ASSERT_EQ(back.tokens.size(), 2u);
  EXPECT_TRUE(back.tokens[0].stopped);
  EXPECT_FALSE(back.tokens[0].has_logprobs);
  ASSERT_EQ(back.tokens[1].logprobs.top.size(), 2u);
  EXPECT_EQ(back.tokens[1].logprobs.top[1].token_id, 3);
  ASSERT_EQ(back.prompt_logprobs.size(), 1u);
  ASSERT_EQ(back.prompt_logprobs[0].tokens.size(), 2u);
  EXPECT_EQ(back.prompt_logprobs[0].tokens[1].top[0].logprob, -1.0f);
  EXPECT_EQ(back.num_tokens, 12);
  EXPECT_EQ(back.seconds, 0.25);
}

TEST(CodecTest, WhatDoesNotFitIsRefused) {
  std::vector<std::byte> bytes(4096);
  const size_t plan_size = *EncodeStepPlan(SomePlan(), bytes);
  const size_t result_size = *EncodeStepResult(SomeResult(), bytes);
  for (size_t size = 0; size < plan_size; ++size) {
    EXPECT_EQ(EncodeStepPlan(SomePlan(), std::span(bytes).first(size)).status().code(),
              StatusCode::kResourceExhausted);
  }
  EXPECT_FALSE(EncodeStepResult(SomeResult(), std::span(bytes).first(result_size - 1)).ok());
}

TEST(CodecTest, CutAndDamagedBytesAreErrorsAndNothingWorse) {
  std::vector<std::byte> plan_bytes(4096), result_bytes(4096);
  plan_bytes.resize(*EncodeStepPlan(SomePlan(), plan_bytes));
  result_bytes.resize(*EncodeStepResult(SomeResult(), result_bytes));
  StepPlan plan;
  StepResult result;
  for (size_t size = 0; size < plan_bytes.size(); ++size) {
    EXPECT_FALSE(DecodeStepPlan(std::span(plan_bytes).first(size), &plan).ok());
  }
  for (size_t size = 0; size < result_bytes.size(); ++size) {
    EXPECT_FALSE(DecodeStepResult(std::span(result_bytes).first(size), &result).ok());
  }
  std::mt19937_64 random(1);
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> bytes = round % 2 == 0 ? plan_bytes : result_bytes;
    for (int flips = 0; flips < 4; ++flips)
      bytes[4 + random() % (bytes.size() - 4)] = static_cast<std::byte>(random());
    [[maybe_unused]] const Status first = DecodeStepPlan(bytes, &plan);
    [[maybe_unused]] const Status second = DecodeStepResult(bytes, &result);
  }
}

}  // namespace
}  // namespace phalanx
