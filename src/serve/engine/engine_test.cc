#include "serve/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "testing/fake_clock.h"
#include "testing/fake_executor.h"

namespace phalanx {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Keeps every output and checks that they keep to the rules. Any thread.
class Collector {
 public:
  Engine::OutputCallback Callback() {
    return [this](const RequestOutput& output) { Take(output); };
  }

  // False: it took too long.
  bool WaitFinished(size_t count, seconds timeout = seconds(30)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, [&] { return finished_.size() >= count; });
  }
  bool WaitTokens(RequestId id, size_t count, seconds timeout = seconds(30)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, [&] { return tokens_[{id, 0}].size() >= count; });
  }
  RequestOutput Final(RequestId id) {
    std::lock_guard lock(mutex_);
    return finished_.at(id);
  }
  std::vector<int32_t> Tokens(RequestId id, int32_t index = 0) {
    std::lock_guard lock(mutex_);
    return tokens_[{id, index}];
  }
  std::optional<FinishReason> Reason(RequestId id, int32_t index = 0) {
    std::lock_guard lock(mutex_);
    const auto it = reasons_.find({id, index});
    return it == reasons_.end() ? std::nullopt : std::optional(it->second);
  }
  size_t num_finished() {
    std::lock_guard lock(mutex_);
    return finished_.size();
  }

 private:
  void Take(const RequestOutput& output) {
    std::lock_guard lock(mutex_);
    EXPECT_EQ(finished_.count(output.request_id), 0u) << "an output after the final one";
    EXPECT_TRUE(output.status.ok() || output.finished);
    for (const SequenceOutput& choice : output.sequences) {
      const auto key = std::make_pair(output.request_id, choice.index);
      EXPECT_EQ(reasons_.count(key), 0u) << "an output after the end of the choice";
      tokens_[key].insert(tokens_[key].end(), choice.token_ids.begin(), choice.token_ids.end());
      if (choice.finish_reason) reasons_[key] = *choice.finish_reason;
    }
    if (output.finished) finished_[output.request_id] = output;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<RequestId, RequestOutput> finished_;
  std::map<std::pair<RequestId, int32_t>, std::vector<int32_t>> tokens_;
  std::map<std::pair<RequestId, int32_t>, FinishReason> reasons_;
};

// False: it took too long.
bool WaitUntil(const std::function<bool()>& done) {
  for (int i = 0; i < 10000 && !done(); ++i) std::this_thread::sleep_for(milliseconds(1));
  return done();
}

Request MakeRequest(std::vector<int32_t> prompt, int32_t max_tokens) {
  Request request;
  request.prompt_token_ids = std::move(prompt);
  request.max_tokens = max_tokens;
  request.sampling.temperature = 0;
  return request;
}

std::vector<int32_t> Expected(const Request& request, int32_t vocab_size) {
  const FakeModel model = HashModel(vocab_size);
  SequenceStart start;
  start.num_prompt_tokens = static_cast<int32_t>(request.prompt_token_ids.size());
  start.sampling = request.sampling;
  std::vector<int32_t> tokens = request.prompt_token_ids;
  for (int32_t i = 0; i < request.max_tokens; ++i) tokens.push_back(model(start, tokens));
  return {tokens.begin() + start.num_prompt_tokens, tokens.end()};
}

FakeExecutorOptions DataParallel(int32_t num_groups, int64_t blocks_per_group = 64) {
  FakeExecutorOptions options;
  options.facts.num_groups = num_groups;
  options.facts.num_domains = num_groups;
  options.facts.blocks_per_group = blocks_per_group;
  options.facts.num_blocks = num_groups * blocks_per_group;
  return options;
}

TEST(Engine, AnswersOneRequest) {
  Collector collector;  // outlives the engine that calls it
  FakeExecutor executor(DataParallel(1));
  Engine engine({}, &executor);
  engine.Start();
  EXPECT_TRUE(engine.Health().ok());
  const Request request = MakeRequest({1, 2, 3}, 20);
  const auto id = engine.Submit(request, collector.Callback());
  ASSERT_TRUE(id.ok()) << id.status().ToString();
  ASSERT_TRUE(collector.WaitFinished(1));
  EXPECT_EQ(collector.Tokens(*id), Expected(request, 1000));
  EXPECT_EQ(collector.Reason(*id), FinishReason::kLength);
  EXPECT_EQ(collector.Final(*id).data_parallel_rank, 0);
  engine.Stop();
  EXPECT_EQ(executor.max_in_flight(), 2) << "the next step should be planned while one is under way";
}

TEST(Engine, AnswersManyThreadsOverManyGroups) {
  Collector collector;
  FakeExecutorOptions options = DataParallel(4, 24);
  options.step_time = std::chrono::microseconds(50);
  FakeExecutor executor(options);
  Engine engine({}, &executor);
  engine.Start();
  constexpr int kThreads = 6, kEach = 15;
  std::mutex mutex;
  std::map<RequestId, Request> requests;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        Request request = MakeRequest({t, i, t + i, 7}, 5 + i);
        const auto id = engine.Submit(request, collector.Callback());
        ASSERT_TRUE(id.ok());
        std::lock_guard lock(mutex);
        requests.emplace(*id, request);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(collector.WaitFinished(kThreads * kEach));
  for (const auto& [id, request] : requests) EXPECT_EQ(collector.Tokens(id), Expected(request, 1000));
  const EngineStats stats = engine.Stats();
  ASSERT_EQ(stats.groups.size(), 4u);
  engine.Stop();
  int64_t generated = 0;
  for (const auto& group : engine.Stats().groups) {
    EXPECT_EQ(group.used_blocks, 0);
    EXPECT_EQ(group.running + group.waiting, 0);
    EXPECT_GT(group.steps, 0);
    generated += group.generation_tokens;
  }
  EXPECT_EQ(generated, kThreads * (kEach * 5 + kEach * (kEach - 1) / 2));
}

TEST(Engine, RefusesAtTheDoor) {
  Collector collector;
  FakeExecutor executor(DataParallel(2, 8));
  EngineOptions options;
  options.max_input_tokens = 10;
  Engine engine(options, &executor);
  EXPECT_EQ(engine.Submit(MakeRequest({1}, 1), collector.Callback()).status().code(),
            StatusCode::kUnavailable);
  EXPECT_FALSE(engine.Health().ok());
  engine.Start();
  const auto code_and_param = [&](Request request) {
    const Status status = engine.Submit(std::move(request), collector.Callback()).status();
    return std::make_pair(status.code(), status.param());
  };
  const auto invalid = [](const char* param) {
    return std::make_pair(StatusCode::kInvalidArgument, std::string(param));
  };
  EXPECT_EQ(code_and_param(MakeRequest({}, 1)), invalid("prompt"));
  EXPECT_EQ(code_and_param(MakeRequest(std::vector<int32_t>(11, 1), 1)), invalid("prompt"));
  EXPECT_EQ(code_and_param(MakeRequest({1, 1000}, 1)), invalid("prompt"));
  EXPECT_EQ(code_and_param(MakeRequest({1, -1}, 1)), invalid("prompt"));
  EXPECT_EQ(code_and_param(MakeRequest({1}, 0)), invalid("max_tokens"));
  EXPECT_EQ(code_and_param(MakeRequest({1}, 129)), invalid("max_tokens"));
  Request pinned = MakeRequest({1}, 1);
  pinned.data_parallel_rank = 2;
  EXPECT_EQ(code_and_param(pinned), invalid("data_parallel_rank"));
  Request none = MakeRequest({1}, 1);
  none.n = 0;
  EXPECT_EQ(code_and_param(none), invalid("n"));
  engine.Stop();
  EXPECT_EQ(engine.Submit(MakeRequest({1}, 1), collector.Callback()).status().code(), StatusCode::kCancelled);
  EXPECT_EQ(engine.Health().code(), StatusCode::kCancelled);
  EXPECT_EQ(collector.num_finished(), 0u);
}

TEST(Engine, RefusesTheRequestAfterRunningAndQueuedOnes) {
  Collector collector;
  FakeExecutorOptions executor_options = DataParallel(1);
  executor_options.holds_results = true;
  FakeExecutor executor(executor_options);
  EngineOptions options;
  options.max_running_requests = 2;
  options.max_queued_requests = 4;
  Engine engine(options, &executor);
  engine.Start();
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(engine.Submit(MakeRequest({1}, 3), collector.Callback()).ok()) << i;
  const auto seventh = engine.Submit(MakeRequest({1}, 3), collector.Callback());
  EXPECT_EQ(seventh.status().code(), StatusCode::kResourceExhausted);
  const EngineStats stats = engine.Stats();
  EXPECT_EQ(stats.queued_requests + stats.running_requests, 6);
  executor.Release();
  EXPECT_TRUE(collector.WaitFinished(6));
  engine.Stop();
}

TEST(Engine, AbortEndsOnceAndFreesTheBlocks) {
  Collector collector;
  FakeExecutorOptions executor_options = DataParallel(1);
  executor_options.holds_results = true;
  FakeExecutor executor(executor_options);
  Engine engine({}, &executor);
  engine.Start();
  const auto id = engine.Submit(MakeRequest({1, 2}, 100), collector.Callback());
  executor.Release(5);
  ASSERT_TRUE(collector.WaitTokens(*id, 5));
  engine.Abort(*id);
  engine.Abort(*id);
  engine.Abort(12345);
  ASSERT_TRUE(collector.WaitFinished(1));
  EXPECT_EQ(collector.Reason(*id), FinishReason::kAbort);
  EXPECT_TRUE(collector.Final(*id).status.ok());
  // The steps under way come back and are dropped; the next request works.
  executor.Release();
  const auto next = engine.Submit(MakeRequest({3}, 2), collector.Callback());
  ASSERT_TRUE(collector.WaitFinished(2));
  EXPECT_EQ(collector.Tokens(*id).size(), 5u);
  engine.Stop();
  EXPECT_EQ(engine.Stats().groups[0].used_blocks, 0);
}

TEST(Engine, FinishSequenceFromTheCallbackIsObeyedAtOnce) {
  Collector collector;
  const Engine::OutputCallback collect = collector.Callback();
  std::atomic<int> with_tokens{0};
  FakeExecutor executor(DataParallel(1));
  Engine engine({}, &executor);
  engine.Start();
  Request request = MakeRequest({1, 2}, 50);
  request.n = 2;
  const auto id = engine.Submit(request, [&](const RequestOutput& output) {
    collect(output);
    for (const SequenceOutput& choice : output.sequences) {
      if (choice.index == 0 && ++with_tokens == 3) engine.FinishSequence(output.request_id, 0);
    }
  });
  ASSERT_TRUE(id.ok());
  ASSERT_TRUE(collector.WaitFinished(1));
  EXPECT_EQ(collector.Tokens(*id, 0).size(), 3u);
  EXPECT_EQ(collector.Tokens(*id, 1).size(), 50u);
  engine.Stop();
}

TEST(Engine, DrainLetsRunningRequestsFinish) {
  Collector collector;
  FakeExecutorOptions executor_options = DataParallel(2);
  executor_options.step_time = std::chrono::microseconds(200);
  FakeExecutor executor(executor_options);
  Engine engine({}, &executor);
  engine.Start();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(engine.Submit(MakeRequest({i}, 20), collector.Callback()).ok());
  engine.Drain(seconds(30));
  EXPECT_EQ(collector.num_finished(), 10u);
  for (RequestId id = 1; id <= 10; ++id) EXPECT_TRUE(collector.Final(id).status.ok());
  EXPECT_EQ(engine.Submit(MakeRequest({1}, 1), collector.Callback()).status().code(), StatusCode::kCancelled);
  engine.Stop();
}

TEST(Engine, StopEndsEveryRequest) {
  Collector collector;
  FakeExecutorOptions executor_options = DataParallel(2);
  executor_options.holds_results = true;
  FakeExecutor executor(executor_options);
  Engine engine({}, &executor);
  engine.Start();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(engine.Submit(MakeRequest({i}, 20), collector.Callback()).ok());
  engine.Drain(milliseconds(5));
  EXPECT_EQ(collector.num_finished(), 10u);
  for (RequestId id = 1; id <= 10; ++id) EXPECT_EQ(collector.Final(id).status.code(), StatusCode::kCancelled);
  engine.Stop();
  engine.Stop();
}

TEST(Engine, ALostRankEndsItsDomainAndNoOther) {
  Collector collector;
  FakeExecutorOptions executor_options = DataParallel(2);
  executor_options.holds_results = true;
  FakeExecutor executor(executor_options);
  Engine engine({}, &executor);
  engine.Start();
  std::vector<RequestId> ids;
  for (int i = 0; i < 6; ++i) {
    Request request = MakeRequest({i}, 20);
    request.data_parallel_rank = i % 2;
    ids.push_back(*engine.Submit(request, collector.Callback()));
  }
  ASSERT_TRUE(WaitUntil([&] { return executor.num_in_flight() >= 2; }));
  executor.FailDomain(1, 3);
  ASSERT_TRUE(collector.WaitFinished(3));
  for (int i : {1, 3, 5}) {
    EXPECT_EQ(collector.Final(ids[i]).status.code(), StatusCode::kUnavailable);
    EXPECT_THAT(collector.Final(ids[i]).status.message(), ::testing::HasSubstr("rank 3"));
    EXPECT_EQ(collector.Reason(ids[i]), FinishReason::kError);
  }
  EXPECT_THAT(engine.Health().message(), ::testing::HasSubstr("rank 3"));
  executor.Release();
  ASSERT_TRUE(collector.WaitFinished(6));
  for (int i : {0, 2, 4}) EXPECT_EQ(collector.Tokens(ids[i]).size(), 20u);
  // A request that only the lost group may take is ended, others go to the group that is left.
  Request pinned = MakeRequest({1}, 2);
  pinned.data_parallel_rank = 1;
  const auto lost = engine.Submit(pinned, collector.Callback());
  const auto free = engine.Submit(MakeRequest({1}, 2), collector.Callback());
  ASSERT_TRUE(collector.WaitFinished(8));
  EXPECT_EQ(collector.Final(*lost).status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(collector.Final(*free).data_parallel_rank, 0);
  engine.Stop();
}

TEST(Engine, WithAllRanksLostNothingIsAdmitted) {
  Collector collector;
  FakeExecutorOptions executor_options = DataParallel(1);
  executor_options.holds_results = true;
  FakeExecutor executor(executor_options);
  EngineOptions options;
  options.max_batch_size = 1;
  Engine engine(options, &executor);
  engine.Start();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(engine.Submit(MakeRequest({i}, 20), collector.Callback()).ok());
  ASSERT_TRUE(WaitUntil([&] { return executor.num_in_flight() >= 1; }));
  executor.FailDomain(0, 0);
  ASSERT_TRUE(collector.WaitFinished(3));
  for (RequestId id = 1; id <= 3; ++id)
    EXPECT_EQ(collector.Final(id).status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(engine.Submit(MakeRequest({1}, 1), collector.Callback()).status().code(),
            StatusCode::kUnavailable);
  engine.Stop();
}

TEST(Engine, DeadlinesEndRequests) {
  Collector collector;
  FakeExecutorOptions executor_options = DataParallel(1);
  executor_options.holds_results = true;
  FakeExecutor executor(executor_options);
  FakeClock clock;
  EngineOptions options;
  options.token_timeout = seconds(10);
  options.request_timeout = seconds(25);
  Engine engine(options, &executor, &clock);
  engine.Start();
  const auto advance = [&](seconds time) {
    clock.Advance(time);
    executor.Wake();
  };
  const auto steady = engine.Submit(MakeRequest({1}, 100), collector.Callback());
  for (size_t i = 1; i <= 3; ++i) {
    executor.Release(1);
    ASSERT_TRUE(collector.WaitTokens(*steady, i));
    if (i < 3) advance(seconds(8));
  }
  EXPECT_EQ(collector.num_finished(), 0u) << "each token came within the token's limit";
  advance(seconds(9));
  ASSERT_TRUE(collector.WaitFinished(1));
  EXPECT_EQ(collector.Final(*steady).status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(collector.Final(*steady).status.message(), ::testing::HasSubstr("25 s"));

  executor.Release(2);  // the steps that were under way when it ended
  ASSERT_TRUE(WaitUntil([&] { return engine.Stats().running_requests == 0; }));
  const auto silent = engine.Submit(MakeRequest({1}, 100), collector.Callback());
  ASSERT_TRUE(WaitUntil([&] { return engine.Stats().running_requests == 1; }));
  advance(seconds(10));
  ASSERT_TRUE(collector.WaitFinished(2));
  EXPECT_THAT(collector.Final(*silent).status.message(), ::testing::HasSubstr("10 s"));
  engine.Stop();
}

// Clients come, listen for a while and go, from many threads, while the engine is stopped under them.
TEST(Engine, EveryAdmittedRequestEndsExactlyOnce) {
  Collector collector;
  FakeExecutorOptions executor_options = DataParallel(3, 6);
  executor_options.step_time = std::chrono::microseconds(20);
  FakeExecutor executor(executor_options);
  EngineOptions options;
  options.max_queued_requests = 20;
  options.max_running_requests = 10;
  Engine engine(options, &executor);
  engine.Start();
  std::atomic<size_t> admitted{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        Request request = MakeRequest({t, i}, 1 + (i * 7) % 60);
        request.n = 1 + i % 3;
        const auto id = engine.Submit(request, collector.Callback());
        if (!id.ok()) {
          if (id.status().code() == StatusCode::kCancelled) return;
          EXPECT_EQ(id.status().code(), StatusCode::kResourceExhausted);
          std::this_thread::sleep_for(milliseconds(1));
          continue;
        }
        ++admitted;
        if (i % 4 == 0) engine.Abort(*id);
        if (i % 5 == 0) engine.FinishSequence(*id, 0);
        engine.Stats();
      }
    });
  }
  std::this_thread::sleep_for(milliseconds(60));
  engine.Stop();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(collector.num_finished(), admitted.load());
  for (const auto& group : engine.Stats().groups) EXPECT_EQ(group.used_blocks, 0);
}

}  // namespace
}  // namespace phalanx
