#include "plan/step_channel.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <thread>

namespace phalanx {
namespace {

SteadyTime In(int milliseconds) {
  return std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
}

StepChannelShape Shape(int domains, int ranks) {
  StepChannelShape shape;
  shape.num_domains = domains;
  shape.ranks_per_domain = ranks;
  shape.plan_bytes = shape.result_bytes = 10'000;
  return shape;
}

StepPlan PlanWithTokens(StepId id, int domain, int num_tokens) {
  StepPlan plan;
  plan.step_id = id;
  plan.domain = domain;
  plan.batches.resize(1);
  SequenceStep step;
  step.id = id * 10;
  step.num_new_tokens = num_tokens;
  step.token_ids.assign(static_cast<size_t>(num_tokens), static_cast<int32_t>(id));
  plan.batches[0].steps = {step};
  return plan;
}

// A rank that answers each plan with a token that depends on it, until it is fenced.
void ServeRank(const SharedMemory& memory, const StepChannelShape& shape, int domain, int rank) {
  Result<StepChannelRank> channel = StepChannelRank::Attach(memory, shape, domain, rank);
  ASSERT_TRUE(channel.ok());
  StepPlan plan;
  while (true) {
    const Result<StepChannelRank::Next> next = channel->WaitForPlan(&plan);
    ASSERT_TRUE(next.ok());
    if (*next == StepChannelRank::Next::kFenced) return;
    StepResult result;
    result.step_id = plan.step_id;
    result.num_tokens = plan.batches[0].num_tokens();
    result.tokens.emplace_back().token_id = plan.batches[0].steps[0].token_ids[0] * 2;
    channel->Finish(Status::Ok(), rank == 0 ? &result : nullptr, rank * 1.0);
  }
}

StepResult WaitForResult(StepChannelHost* host, int domain) {
  while (true) {
    if (std::optional<StepResult> result = host->Collect(domain)) return *std::move(result);
    host->WaitForRing(In(10000));
  }
}

// Two steps of each domain always under way.
void RunSteps(StepChannelHost* host, const StepChannelShape& shape, StepId num_steps) {
  for (int domain = 0; domain < shape.num_domains; ++domain) {
    ASSERT_TRUE(host->Publish(PlanWithTokens(1, domain, 1)).ok());
    ASSERT_TRUE(host->Publish(PlanWithTokens(2, domain, 2)).ok());
  }
  for (StepId step = 1; step <= num_steps; ++step) {
    for (int domain = 0; domain < shape.num_domains; ++domain) {
      EXPECT_EQ(host->InFlight(domain), 2);
      const StepResult result = WaitForResult(host, domain);
      ASSERT_TRUE(result.status.ok()) << result.status.ToString();
      EXPECT_EQ(result.step_id, step);
      EXPECT_EQ(result.domain, domain);
      EXPECT_EQ(result.tokens[0].token_id, static_cast<int32_t>(step) * 2);
      EXPECT_EQ(result.seconds, shape.ranks_per_domain - 1.0);
      ASSERT_TRUE(host->Publish(PlanWithTokens(step + 2, domain, 1 + static_cast<int>(step % 500))).ok());
    }
  }
}

TEST(StepChannelTest, CarriesStepsBetweenThreads) {
  const StepChannelShape shape = Shape(2, 3);
  Result<StepChannelHost> host = StepChannelHost::Create(shape);
  ASSERT_TRUE(host.ok());
  std::vector<std::thread> ranks;
  for (int domain = 0; domain < 2; ++domain) {
    for (int rank = 0; rank < 3; ++rank)
      ranks.emplace_back([&, domain, rank] { ServeRank(host->memory(), shape, domain, rank); });
  }
  RunSteps(&*host, shape, 500);
  host->Fence(0);
  host->Fence(1);
  for (std::thread& rank : ranks) rank.join();
}

TEST(StepChannelTest, CarriesStepsBetweenProcesses) {
  const StepChannelShape shape = Shape(1, 2);
  Result<StepChannelHost> host = StepChannelHost::Create(shape);
  ASSERT_TRUE(host.ok());
  pid_t children[2];
  for (int rank = 0; rank < 2; ++rank) {
    children[rank] = ::fork();
    if (children[rank] == 0) {
      ServeRank(host->memory(), shape, 0, rank);
      ::_exit(testing::Test::HasFailure() ? 1 : 0);
    }
  }
  RunSteps(&*host, shape, 500);
  host->Fence(0);
  for (const pid_t child : children) {
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
}

// What a step costs beyond its computation: the plan's way down and the result's way up, one after the other.
TEST(StepChannelTest, PrintsTheCostOfAStep) {
  constexpr int kSequences = 32, kSteps = 2000;
  StepChannelShape shape = Shape(1, 1);
  shape.plan_bytes = shape.result_bytes = size_t{1} << 20;
  Result<StepChannelHost> host = StepChannelHost::Create(shape);
  ASSERT_TRUE(host.ok());
  const pid_t child = ::fork();
  if (child == 0) {
    ServeRank(host->memory(), shape, 0, 0);
    ::_exit(0);
  }
  StepPlan plan = PlanWithTokens(1, 0, 1);
  plan.batches[0].steps.resize(kSequences, plan.batches[0].steps[0]);
  const SteadyTime start = std::chrono::steady_clock::now();
  for (plan.step_id = 1; plan.step_id <= kSteps; ++plan.step_id) {
    ASSERT_TRUE(host->Publish(plan).ok());
    ASSERT_EQ(WaitForResult(&*host, 0).step_id, plan.step_id);
  }
  const double seconds = SecondsBetween(start, std::chrono::steady_clock::now());
  host->Fence(0);
  ::waitpid(child, nullptr, 0);
  const double microseconds = seconds / kSteps * 1e6;
  std::printf("a step of %d sequences there and back: %.1f us\n", kSequences, microseconds);
  RecordProperty("microseconds_per_step", std::to_string(microseconds));
  EXPECT_LT(microseconds, 10'000) << "a waiter must have slept through its wake-up";
}

TEST(StepChannelTest, TheFirstErrorOfARankIsTheResults) {
  const StepChannelShape shape = Shape(1, 2);
  Result<StepChannelHost> host = StepChannelHost::Create(shape);
  ASSERT_TRUE(host.ok());
  Result<StepChannelRank> first = StepChannelRank::Attach(host->memory(), shape, 0, 0);
  Result<StepChannelRank> second = StepChannelRank::Attach(host->memory(), shape, 0, 1);
  ASSERT_TRUE(first.ok() && second.ok());
  ASSERT_TRUE(host->Publish(PlanWithTokens(1, 0, 1)).ok());
  StepPlan plan;
  ASSERT_EQ(*first->WaitForPlan(&plan, In(1000)), StepChannelRank::Next::kPlan);
  EXPECT_EQ(*first->WaitForPlan(&plan, In(1000)),
            StepChannelRank::Next::kPlan);  // repeated until it is finished
  StepResult result;
  first->Finish(Status::Ok(), &result, 0);
  EXPECT_EQ(*first->WaitForPlan(&plan, In(1)), StepChannelRank::Next::kTimeout);
  EXPECT_FALSE(host->Collect(0).has_value());
  EXPECT_EQ(host->FirstUnfinishedRank(0), 1);
  ASSERT_EQ(*second->WaitForPlan(&plan, In(1000)), StepChannelRank::Next::kPlan);
  second->Finish(Internal("no memory"), nullptr, 0);
  const std::optional<StepResult> collected = host->Collect(0);
  ASSERT_TRUE(collected.has_value());
  EXPECT_EQ(collected->status.message(), "no memory");
  EXPECT_EQ(collected->failed_rank, 1);
  EXPECT_EQ(host->FirstUnfinishedRank(0), -1);
}

TEST(StepChannelTest, AFenceEndsWaitsNowAndLater) {
  const StepChannelShape shape = Shape(2, 1);
  Result<StepChannelHost> host = StepChannelHost::Create(shape);
  ASSERT_TRUE(host.ok());
  std::thread rank([&] { ServeRank(host->memory(), shape, 0, 0); });
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  host->Fence(0);
  rank.join();
  ServeRank(host->memory(), shape, 0, 0);
  // The other domain goes on.
  Result<StepChannelRank> other = StepChannelRank::Attach(host->memory(), shape, 1, 0);
  ASSERT_TRUE(other.ok());
  ASSERT_TRUE(host->Publish(PlanWithTokens(1, 1, 1)).ok());
  StepPlan plan;
  EXPECT_EQ(*other->WaitForPlan(&plan, In(1000)), StepChannelRank::Next::kPlan);
}

TEST(StepChannelTest, ATooLargePlanIsRefusedAndTheNextOneGoesThrough) {
  const StepChannelShape shape = Shape(1, 1);
  Result<StepChannelHost> host = StepChannelHost::Create(shape);
  ASSERT_TRUE(host.ok());
  EXPECT_EQ(host->Publish(PlanWithTokens(1, 0, 10'000)).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(host->InFlight(0), 0);
  EXPECT_TRUE(host->Publish(PlanWithTokens(1, 0, 10)).ok());
}

TEST(StepChannelTest, ADeadlineBoundsTheWaitForTheDoorbell) {
  Result<StepChannelHost> host = StepChannelHost::Create(Shape(1, 1));
  ASSERT_TRUE(host.ok());
  const auto start = std::chrono::steady_clock::now();
  host->WaitForRing(In(20));
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(20));
  host->Ring();
  host->WaitForRing(In(60000));
}

}  // namespace
}  // namespace phalanx
