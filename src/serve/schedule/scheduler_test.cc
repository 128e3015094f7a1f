#include "serve/schedule/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace phalanx {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

SchedulerOptions Options(int32_t num_groups = 1, int64_t blocks_per_group = 100) {
  SchedulerOptions options;
  options.num_groups = options.num_domains = num_groups;
  options.block_size = 4;
  options.blocks_per_group = blocks_per_group;
  options.num_blocks = num_groups * blocks_per_group;
  options.max_step_tokens = 64;
  options.prefill_chunk_tokens = 8;
  options.max_batch_size = 16;
  return options;
}

Request MakeRequest(RequestId id, int64_t num_prompt, int32_t max_tokens) {
  Request request;
  request.id = id;
  for (int64_t i = 0; i < num_prompt; ++i)
    request.prompt_token_ids.push_back(static_cast<int32_t>(100 * id + i));
  request.max_tokens = max_tokens;
  return request;
}

// The result of a plan: every row that samples gives `token_id`.
StepResult Answer(const StepPlan& plan, int32_t token_id = 7) {
  StepResult result;
  result.step_id = plan.step_id;
  result.domain = plan.domain;
  for (const Batch& batch : plan.batches) {
    for (const SequenceStep& step : batch.steps) {
      if (step.samples) result.tokens.push_back({.id = step.id, .token_id = token_id, .logprobs = {}});
    }
  }
  return result;
}

std::vector<std::pair<SequenceId, int32_t>> Rows(const StepPlan& plan) {
  std::vector<std::pair<SequenceId, int32_t>> rows;
  for (const SequenceStep& step : plan.batches.at(0).steps) rows.emplace_back(step.id, step.num_new_tokens);
  return rows;
}

std::pair<SequenceId, int32_t> Row(SequenceId id, int32_t num_tokens) {
  return {id, num_tokens};
}

// Runs one step at a time until nothing is left to do; the outputs by request.
void RunToTheEnd(Scheduler* scheduler) {
  for (int i = 0; i < 10000; ++i) {
    bool any = false;
    for (int32_t domain = 0; domain < scheduler->options().num_domains; ++domain) {
      if (const auto plan = scheduler->Schedule(domain)) {
        scheduler->Update(Answer(*plan));
        any = true;
      }
    }
    if (!any) return;
  }
  FAIL() << "it never ends";
}

TEST(Scheduler, PlansTheNextStepBeforeTheTokenIsKnown) {
  Scheduler scheduler(Options());
  ASSERT_TRUE(scheduler.Add(MakeRequest(1, 5, 3)).ok());
  const auto first = scheduler.Schedule(0);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->step_id, 1u);
  const Batch& batch = first->batches.at(0);
  ASSERT_EQ(batch.started.size(), 1u);
  EXPECT_EQ(batch.started[0].num_prompt_tokens, 5);
  EXPECT_EQ(batch.started[0].reserved_length, 8);
  ASSERT_EQ(batch.steps.size(), 1u);
  EXPECT_THAT(batch.steps[0].token_ids, ElementsAre(100, 101, 102, 103, 104));
  EXPECT_EQ(batch.steps[0].new_block_ids.size(), 2u);
  EXPECT_TRUE(batch.steps[0].samples);

  const auto second = scheduler.Schedule(0);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->batches[0].steps[0].first_position, 5);
  EXPECT_THAT(second->batches[0].steps[0].token_ids, IsEmpty());
  EXPECT_THAT(second->batches[0].started, IsEmpty());
  EXPECT_FALSE(scheduler.Schedule(0)) << "two steps are under way";

  auto outputs = scheduler.Update(Answer(*first, 11));
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_THAT(outputs[0].sequences.at(0).token_ids, ElementsAre(11));
  EXPECT_FALSE(outputs[0].finished);
  const auto third = scheduler.Schedule(0);
  ASSERT_TRUE(third);
  // The third new token is the last one that it may have: nothing is planned beyond it.
  EXPECT_FALSE(scheduler.Update(Answer(*second, 12))[0].finished);
  EXPECT_FALSE(scheduler.Schedule(0));
  outputs = scheduler.Update(Answer(*third, 13));
  EXPECT_TRUE(outputs[0].finished);
  EXPECT_EQ(outputs[0].sequences[0].finish_reason, FinishReason::kLength);
  EXPECT_EQ(scheduler.Stats(0).used_blocks, 0);
  EXPECT_EQ(scheduler.Stats(0).prompt_tokens, 5);
  EXPECT_EQ(scheduler.Stats(0).generation_tokens, 3);
}

TEST(Scheduler, DecodesComeFirstAndPromptsInChunksBesideThem) {
  Scheduler scheduler(Options());
  ASSERT_TRUE(scheduler.Add(MakeRequest(1, 100, 50)).ok());
  auto plan = scheduler.Schedule(0);
  EXPECT_THAT(Rows(*plan), ElementsAre(Row(1, 64))) << "alone: as much as a step takes";
  EXPECT_FALSE(plan->batches[0].steps[0].samples);
  EXPECT_THAT(scheduler.Update(Answer(*plan)), IsEmpty());
  ASSERT_TRUE(scheduler.Add(MakeRequest(2, 20, 50)).ok());
  ASSERT_TRUE(scheduler.Add(MakeRequest(3, 20, 50)).ok());
  plan = scheduler.Schedule(0);
  EXPECT_THAT(Rows(*plan), ElementsAre(Row(1, 36), Row(2, 20), Row(3, 8)));
  EXPECT_FALSE(plan->batches[0].steps[2].samples);
  scheduler.Update(Answer(*plan));
  plan = scheduler.Schedule(0);
  EXPECT_THAT(Rows(*plan), ElementsAre(Row(1, 1), Row(2, 1), Row(3, 8))) << "the others decode";
  scheduler.Update(Answer(*plan));
  plan = scheduler.Schedule(0);
  EXPECT_THAT(Rows(*plan), ElementsAre(Row(1, 1), Row(2, 1), Row(3, 4)));
}

TEST(Scheduler, KeepsTheLimitsOfABatch) {
  SchedulerOptions options = Options();
  options.max_prefill_batch_size = 2;
  options.max_batch_size = 3;
  Scheduler scheduler(options);
  for (RequestId id = 1; id <= 5; ++id) ASSERT_TRUE(scheduler.Add(MakeRequest(id, 4, 4)).ok());
  auto plan = scheduler.Schedule(0);
  EXPECT_THAT(Rows(*plan), ElementsAre(Row(1, 4), Row(2, 4)));
  scheduler.Update(Answer(*plan));
  plan = scheduler.Schedule(0);
  EXPECT_THAT(Rows(*plan), ElementsAre(Row(1, 1), Row(2, 1), Row(3, 4)));
  EXPECT_EQ(scheduler.num_running_requests(), 3);
  scheduler.Update(Answer(*plan));
  RunToTheEnd(&scheduler);
  EXPECT_EQ(scheduler.num_requests(), 0);
}

TEST(Scheduler, AStopTokenMakesTheNextRowVoid) {
  Scheduler scheduler(Options());
  ASSERT_TRUE(scheduler.Add(MakeRequest(1, 4, 50)).ok());
  const auto first = scheduler.Schedule(0);
  const auto second = scheduler.Schedule(0);
  StepResult result = Answer(*first, 2);
  result.tokens[0].stopped = true;
  const auto outputs = scheduler.Update(result);
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_TRUE(outputs[0].finished);
  EXPECT_EQ(outputs[0].sequences[0].finish_reason, FinishReason::kStop);
  EXPECT_THAT(outputs[0].sequences[0].token_ids, ElementsAre(2));
  EXPECT_EQ(scheduler.Stats(0).used_blocks, 0);
  EXPECT_THAT(scheduler.Update(Answer(*second, SampledToken::kSkipped)), IsEmpty());
  // The workers hear of the end with the next plan.
  ASSERT_TRUE(scheduler.Add(MakeRequest(2, 4, 1)).ok());
  EXPECT_THAT(scheduler.Schedule(0)->batches[0].ended, ElementsAre(1));
}

TEST(Scheduler, AbortFreesTheBlocksAndDropsWhatComesBack) {
  Scheduler scheduler(Options());
  ASSERT_TRUE(scheduler.Add(MakeRequest(1, 4, 50)).ok());
  ASSERT_TRUE(scheduler.Add(MakeRequest(2, 4, 50)).ok());
  const auto first = scheduler.Schedule(0);
  const auto output = scheduler.Abort(1);
  ASSERT_TRUE(output);
  EXPECT_TRUE(output->finished);
  EXPECT_TRUE(output->status.ok());
  EXPECT_EQ(output->sequences.at(0).finish_reason, FinishReason::kAbort);
  EXPECT_FALSE(scheduler.Abort(1));
  scheduler.CheckInvariants();
  EXPECT_EQ(scheduler.Stats(0).running, 1);
  const auto second = scheduler.Schedule(0);
  EXPECT_THAT(second->batches[0].ended, ElementsAre(1));
  EXPECT_THAT(Rows(*second), ElementsAre(Row(2, 1)));
  const auto outputs = scheduler.Update(Answer(*first));
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_EQ(outputs[0].request_id, 2u);
}

TEST(Scheduler, TheNewestGivesItsBlocksAndComesBackFirst) {
  SchedulerOptions options = Options(1, 6);
  options.max_in_flight = 1;
  Scheduler scheduler(options);
  for (RequestId id = 1; id <= 2; ++id) ASSERT_TRUE(scheduler.Add(MakeRequest(id, 7, 12)).ok());
  std::vector<std::vector<SequenceId>> ended, started;
  std::vector<int32_t> tokens_at_start;
  std::vector<RequestId> finished;
  for (int i = 0; i < 100 && scheduler.num_requests() > 0; ++i) {
    const auto plan = scheduler.Schedule(0);
    ASSERT_TRUE(plan);
    scheduler.CheckInvariants();
    const Batch& batch = plan->batches[0];
    if (!batch.ended.empty()) ended.push_back(batch.ended);
    for (const SequenceStart& start : batch.started) {
      started.push_back({start.id});
      for (const SequenceStep& step : batch.steps) {
        if (step.id == start.id) tokens_at_start.push_back(step.num_new_tokens);
      }
    }
    for (const RequestOutput& output : scheduler.Update(Answer(*plan))) {
      if (output.finished) finished.push_back(output.request_id);
    }
    if (i != 3) continue;
    ASSERT_TRUE(scheduler.Add(MakeRequest(3, 4, 2)).ok());
  }
  EXPECT_THAT(finished, ElementsAre(1, 3, 2)) << "the third is short";
  EXPECT_THAT(started, ElementsAre(ElementsAre(1), ElementsAre(2), ElementsAre(2), ElementsAre(3)));
  EXPECT_GT(tokens_at_start[2], 7) << "prompt and what had been generated";
  EXPECT_EQ(scheduler.Stats(0).preemptions, 1);
  EXPECT_EQ(scheduler.Stats(0).prompt_tokens, 7 + 7 + 4);
  EXPECT_EQ(scheduler.Stats(0).used_blocks, 0);
}

TEST(Scheduler, EchoComputesThePromptAndSamplesNothing) {
  Scheduler scheduler(Options());
  Request request = MakeRequest(1, 70, 0);
  request.sampling.num_prompt_logprobs = 0;
  ASSERT_TRUE(scheduler.Add(request).ok());
  const auto first = scheduler.Schedule(0);
  const auto second = scheduler.Schedule(0);
  ASSERT_TRUE(second);
  EXPECT_FALSE(second->batches[0].steps[0].samples);
  EXPECT_FALSE(scheduler.Schedule(0));
  StepResult result = Answer(*first);
  result.prompt_logprobs.push_back({1, 1, std::vector<TokenLogprobs>(63)});
  auto outputs = scheduler.Update(result);
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_EQ(outputs[0].prompt_logprobs.size(), 63u);
  EXPECT_FALSE(outputs[0].finished);
  result = Answer(*second);
  result.prompt_logprobs.push_back({1, 64, std::vector<TokenLogprobs>(6)});
  outputs = scheduler.Update(result);
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_TRUE(outputs[0].finished);
  EXPECT_EQ(outputs[0].prompt_logprobs.size(), 6u);
  EXPECT_EQ(outputs[0].sequences.at(0).finish_reason, FinishReason::kLength);
  EXPECT_THAT(outputs[0].sequences[0].token_ids, IsEmpty());
}

TEST(Scheduler, ChoicesAreTogetherAndEndOneByOne) {
  Scheduler scheduler(Options(2));
  Request request = MakeRequest(1, 4, 8);
  request.n = 3;
  request.sampling.num_prompt_logprobs = 1;
  ASSERT_TRUE(scheduler.Add(request).ok());
  EXPECT_FALSE(scheduler.FinishSequence(1, 7));
  const auto plan = scheduler.Schedule(0);
  ASSERT_TRUE(plan);
  EXPECT_FALSE(scheduler.Schedule(1));
  ASSERT_EQ(plan->batches[0].started.size(), 3u);
  for (int32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(plan->batches[0].started[i].choice, i);
    EXPECT_EQ(plan->batches[0].started[i].sampling.num_prompt_logprobs, i == 0 ? 1 : -1);
  }
  const auto outputs = scheduler.Update(Answer(*plan));
  ASSERT_EQ(outputs.size(), 1u) << "one output per request and step";
  EXPECT_EQ(outputs[0].sequences.size(), 3u);
  EXPECT_FALSE(scheduler.FinishSequence(1, 0));
  EXPECT_FALSE(scheduler.FinishSequence(1, 0)) << "it has ended";
  EXPECT_FALSE(scheduler.FinishSequence(1, 2));
  const auto last = scheduler.FinishSequence(1, 1);
  ASSERT_TRUE(last);
  EXPECT_TRUE(last->finished);
  EXPECT_THAT(last->sequences, IsEmpty());
  EXPECT_EQ(scheduler.num_requests(), 0);
  EXPECT_EQ(scheduler.num_running_requests(), 0);
}

TEST(Scheduler, BindsLateAndToTheGroupThatIsReadyFirst) {
  SchedulerOptions options = Options(2);
  options.max_batch_size = 1;
  Scheduler scheduler(options);
  ASSERT_TRUE(scheduler.Add(MakeRequest(1, 4, 20)).ok());
  ASSERT_TRUE(scheduler.Add(MakeRequest(2, 4, 2)).ok());
  ASSERT_TRUE(scheduler.Add(MakeRequest(3, 4, 2)).ok());
  const auto a = scheduler.Schedule(0);
  const auto b = scheduler.Schedule(1);
  ASSERT_TRUE(a && b) << "an idle group takes the second one";
  EXPECT_EQ(scheduler.num_running_requests(), 2);
  scheduler.Update(Answer(*b));
  const auto c = scheduler.Schedule(1);
  scheduler.Update(Answer(*c));
  const auto d = scheduler.Schedule(1);
  ASSERT_TRUE(d) << "the third goes where room is, not behind the long one";
  EXPECT_EQ(d->batches[0].started.at(0).id, 3u);
}

TEST(Scheduler, APinnedRequestWaitsForItsGroupAndHoldsUpNoOther) {
  SchedulerOptions options = Options(2);
  options.max_batch_size = 1;
  Scheduler scheduler(options);
  const auto pinned = [&](RequestId id, int32_t group) {
    Request request = MakeRequest(id, 4, 4);
    request.data_parallel_rank = group;
    return scheduler.Add(request);
  };
  ASSERT_TRUE(pinned(1, 1).ok());
  ASSERT_TRUE(pinned(2, 1).ok());
  ASSERT_TRUE(scheduler.Add(MakeRequest(3, 4, 4)).ok());
  EXPECT_EQ(pinned(4, 2).code(), StatusCode::kInvalidArgument);
  const auto a = scheduler.Schedule(0);
  const auto b = scheduler.Schedule(1);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->batches[0].started.at(0).id, 3u);
  EXPECT_EQ(b->batches[0].started.at(0).id, 1u);
  EXPECT_EQ(scheduler.Stats(1).waiting, 1);
}

TEST(Scheduler, GroupsOfOneDomainStepTogether) {
  SchedulerOptions options = Options(4);
  options.num_domains = 2;
  Scheduler scheduler(options);
  for (RequestId id = 1; id <= 3; ++id) ASSERT_TRUE(scheduler.Add(MakeRequest(id, 4, 4)).ok());
  const auto a = scheduler.Schedule(0);
  const auto b = scheduler.Schedule(1);
  ASSERT_TRUE(a && b);
  ASSERT_EQ(a->batches.size(), 2u);
  EXPECT_EQ(a->batches[0].steps.size() + a->batches[1].steps.size(), 2u);
  EXPECT_EQ(b->batches[0].steps.size(), 1u);
  EXPECT_THAT(b->batches[1].steps, IsEmpty());
}

TEST(Scheduler, RefusesWhatCanNeverFit) {
  Scheduler scheduler(Options(1, 5));
  Status status = scheduler.Add(MakeRequest(1, 21, 1));
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.param(), "prompt");
  EXPECT_THAT(status.message(), ::testing::HasSubstr("holds 20 tokens"));
  status = scheduler.Add(MakeRequest(1, 15, 7));
  EXPECT_EQ(status.param(), "max_tokens");
  EXPECT_TRUE(scheduler.Add(MakeRequest(1, 15, 6)).ok());
  RunToTheEnd(&scheduler);
  EXPECT_EQ(scheduler.num_requests(), 0);
}

TEST(Scheduler, ALostDomainEndsItsRequestsAndTheOthersGoOn) {
  Scheduler scheduler(Options(2));
  for (RequestId id = 1; id <= 4; ++id) {
    Request request = MakeRequest(id, 4, 4);
    request.data_parallel_rank = static_cast<int32_t>(id % 2);
    ASSERT_TRUE(scheduler.Add(request).ok());
  }
  const auto a = scheduler.Schedule(0);
  const auto b1 = scheduler.Schedule(1);
  const auto b2 = scheduler.Schedule(1);
  StepResult broken;
  broken.step_id = b1->step_id;
  broken.domain = 1;
  broken.status = Unavailable("rank 1 has ended");
  const auto outputs = scheduler.Update(broken);
  ASSERT_EQ(outputs.size(), 2u);
  EXPECT_EQ(outputs[0].request_id, 1u);
  EXPECT_EQ(outputs[1].request_id, 3u);
  for (const RequestOutput& output : outputs) {
    EXPECT_TRUE(output.finished);
    EXPECT_EQ(output.status.code(), StatusCode::kUnavailable);
    EXPECT_EQ(output.sequences.at(0).finish_reason, FinishReason::kError);
  }
  broken.step_id = b2->step_id;
  EXPECT_THAT(scheduler.Update(broken), IsEmpty());
  EXPECT_FALSE(scheduler.Schedule(1));
  scheduler.Update(Answer(*a));
  RunToTheEnd(&scheduler);
  EXPECT_EQ(scheduler.num_requests(), 0);
  EXPECT_EQ(scheduler.Stats(1).used_blocks, 0);
}

}  // namespace
}  // namespace phalanx
