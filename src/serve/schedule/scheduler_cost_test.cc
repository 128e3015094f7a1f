// What planning costs: one line of output, in microseconds per step, at 256 decoding sequences.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>

#include "serve/schedule/scheduler.h"

namespace phalanx {
namespace {

TEST(SchedulerCost, PerStepAt256Sequences) {
  SchedulerOptions options;
  options.block_size = 16;
  options.num_blocks = options.blocks_per_group = 100000;
  options.max_batch_size = 256;
  options.max_step_tokens = 1 << 20;
  options.max_output_tokens = 100000;
  options.max_seq_len = 100000;
  Scheduler scheduler(options);
  for (RequestId id = 1; id <= 256; ++id) {
    Request request;
    request.id = id;
    request.prompt_token_ids.assign(64, 1);
    request.max_tokens = 5000;
    ASSERT_TRUE(scheduler.Add(request).ok());
  }
  using Clock = std::chrono::steady_clock;
  double schedule_us = 0, update_us = 0;
  const auto us = [](Clock::duration d) { return std::chrono::duration<double, std::micro>(d).count(); };
  constexpr int kSteps = 500;
  for (int i = -100; i < kSteps; ++i) {
    const auto begin = Clock::now();
    const auto plan = scheduler.Schedule(0);
    const auto planned = Clock::now();
    ASSERT_TRUE(plan);
    StepResult result;
    result.step_id = plan->step_id;
    for (const SequenceStep& step : plan->batches[0].steps) {
      if (step.samples) result.tokens.push_back({.id = step.id, .token_id = 1, .logprobs = {}});
    }
    const auto answered = Clock::now();
    {
      const auto outputs = scheduler.Update(std::move(result));
      ASSERT_TRUE(i < 0 || outputs.size() == 256u);
    }
    const auto updated = Clock::now();
    if (i < 0) continue;
    schedule_us += us(planned - begin);
    update_us += us(updated - answered);
  }
  std::printf("256 sequences: Schedule %.1f us, Update %.1f us per step\n", schedule_us / kSteps,
              update_us / kSteps);
}

}  // namespace
}  // namespace phalanx
