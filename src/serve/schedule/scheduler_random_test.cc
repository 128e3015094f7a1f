// The Scheduler against workers that check every plan (FakeExecutor), with random layouts, limits and
// clients. After each call the invariants that join sequences, groups and blocks are checked; at the end
// every request must have had exactly one final output, the tokens that it would have got alone, and no
// longer a wait than its elders' work explains.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>

#include "serve/schedule/scheduler.h"
#include "testing/fake_executor.h"

namespace phalanx {
namespace {

constexpr int32_t kVocabSize = 200;

// The tokens of one choice when it is computed alone.
std::vector<int32_t> TokensAlone(const Request& request, int32_t choice, const SchedulerOptions& options) {
  const FakeModel model = HashModel(kVocabSize);
  SequenceStart start;
  start.choice = choice;
  start.num_prompt_tokens = static_cast<int32_t>(request.prompt_token_ids.size());
  start.sampling = request.sampling;
  std::vector<int32_t> tokens = request.prompt_token_ids;
  const int64_t limit = MaxNewTokens(request, options);
  const std::vector<int32_t>& stops = request.sampling.stop_token_ids;
  for (int64_t i = 0; i < limit; ++i) {
    tokens.push_back(model(start, tokens));
    if (std::find(stops.begin(), stops.end(), tokens.back()) != stops.end()) break;
  }
  return {tokens.begin() + start.num_prompt_tokens, tokens.end()};
}

// One Scheduler with its workers and clients.
class House {
 public:
  House(const SchedulerOptions& options, int32_t latency) : scheduler_(options), latency_(latency) {
    FakeExecutorOptions fake;
    fake.facts.num_groups = options.num_groups;
    fake.facts.num_domains = options.num_domains;
    fake.facts.vocab_size = kVocabSize;
    fake.facts.block_size = options.block_size;
    fake.facts.num_blocks = options.num_blocks;
    fake.facts.blocks_per_group = options.blocks_per_group;
    fake.latency = latency;
    fake.limits = {options.max_step_tokens, scheduler_.options().max_batch_size};
    executor_.emplace(fake);
  }

  void Add(Request request) {
    request.id = next_id_++;
    Client client;
    client.request = request;
    client.tokens.resize(request.n);
    client.reasons.resize(request.n);
    client.num_logprobs.resize(request.n);
    // The oldest sequence moves on by a token in every step, so nobody waits for more steps than its elders
    // have tokens; a round is a Collect, a step takes `latency` of them and one more.
    int64_t tokens = 0;
    for (const auto& [id, other] : clients_) tokens += other.finished ? 0 : Tokens(other.request);
    client.latest_round = round_ + (tokens + Tokens(request) + 4) * (latency_ + 2);
    const Status added = scheduler_.Add(request);
    ASSERT_TRUE(added.ok()) << added.ToString();
    clients_.emplace(request.id, std::move(client));
  }

  void Round() {
    ++round_;
    for (StepResult& result : executor_->Collect()) {
      for (const RequestOutput& output : scheduler_.Update(std::move(result))) Take(output);
      scheduler_.CheckInvariants();
    }
    for (bool planned = true; planned;) {
      planned = false;
      for (int32_t domain = 0; domain < scheduler_.options().num_domains; ++domain) {
        const auto plan = scheduler_.Schedule(domain);
        scheduler_.CheckInvariants();
        if (!plan) continue;
        planned = true;
        ASSERT_TRUE(executor_->Submit(*plan).ok());
      }
    }
    for (const auto& [id, client] : clients_) {
      ASSERT_TRUE(client.finished || round_ <= client.latest_round) << "request " << id << " starves";
    }
  }

  void Abort(RequestId id) {
    if (const auto output = scheduler_.Abort(id)) {
      clients_.at(id).disturbed = true;
      Take(*output);
    }
    scheduler_.CheckInvariants();
  }
  void FinishSequence(RequestId id, int32_t index) {
    Client& client = clients_.at(id);
    if (client.finished || client.reasons[index]) return;
    client.disturbed = true;
    client.reasons[index] = FinishReason::kStop;
    if (const auto output = scheduler_.FinishSequence(id, index)) Take(*output);
    scheduler_.CheckInvariants();
  }

  void RunToTheEnd() {
    while (scheduler_.num_requests() > 0 && !::testing::Test::HasFatalFailure()) Round();
  }

  void CheckEnd() {
    int64_t used = 0;
    for (int32_t g = 0; g < scheduler_.options().num_groups; ++g) {
      used += scheduler_.Stats(g).used_blocks;
      EXPECT_EQ(scheduler_.Stats(g).running + scheduler_.Stats(g).waiting, 0);
    }
    EXPECT_EQ(used, 0);
    EXPECT_EQ(scheduler_.num_running_requests(), 0);
    for (const auto& [id, client] : clients_) {
      ASSERT_TRUE(client.finished);
      for (int32_t i = 0; i < client.request.n; ++i) {
        const std::vector<int32_t> alone = TokensAlone(client.request, i, scheduler_.options());
        const std::vector<int32_t>& got = client.tokens[i];
        if (client.disturbed) {
          ASSERT_LE(got.size(), alone.size());
          EXPECT_TRUE(std::equal(got.begin(), got.end(), alone.begin()))
              << "request " << id << " choice " << i;
        } else {
          EXPECT_EQ(got, alone) << "request " << id << " choice " << i;
        }
        const bool asked = client.request.sampling.num_logprobs >= 0;
        EXPECT_EQ(client.num_logprobs[i], asked ? got.size() : 0u);
      }
      if (client.request.sampling.num_prompt_logprobs >= 0 && !client.disturbed) {
        EXPECT_EQ(client.prompt_logprobs, std::vector<int32_t>(client.request.prompt_token_ids.begin() + 1,
                                                               client.request.prompt_token_ids.end()));
      }
    }
  }

  Scheduler& scheduler() { return scheduler_; }
  const FakeExecutor& executor() const { return *executor_; }
  size_t num_clients() const { return clients_.size(); }
  const std::vector<int32_t>& tokens(RequestId id, int32_t index) const {
    return clients_.at(id).tokens[index];
  }
  int64_t num_preemptions() const {
    int64_t total = 0;
    for (int32_t g = 0; g < scheduler_.options().num_groups; ++g) total += scheduler_.Stats(g).preemptions;
    return total;
  }

 private:
  struct Client {
    Request request;
    std::vector<std::vector<int32_t>> tokens;
    std::vector<std::optional<FinishReason>> reasons;
    std::vector<size_t> num_logprobs;
    std::vector<int32_t> prompt_logprobs;
    int64_t latest_round = 0;
    bool disturbed = false;  // aborted or a choice of it finished from outside
    bool finished = false;
  };

  static int64_t Tokens(const Request& request) {
    return request.n * (static_cast<int64_t>(request.prompt_token_ids.size()) + request.max_tokens + 2);
  }

  void Take(const RequestOutput& output) {
    Client& client = clients_.at(output.request_id);
    ASSERT_FALSE(client.finished) << "an output after the final one";
    EXPECT_TRUE(output.status.ok());
    for (const SequenceOutput& choice : output.sequences) {
      ASSERT_FALSE(client.reasons[choice.index]) << "an output after the end of the choice";
      std::vector<int32_t>& tokens = client.tokens[choice.index];
      tokens.insert(tokens.end(), choice.token_ids.begin(), choice.token_ids.end());
      client.reasons[choice.index] = choice.finish_reason;
      client.num_logprobs[choice.index] += choice.logprobs.size();
    }
    for (const TokenLogprobs& logprobs : output.prompt_logprobs)
      client.prompt_logprobs.push_back(logprobs.token_id);
    client.finished = output.finished;
    if (!output.finished) return;
    for (const auto& reason : client.reasons) EXPECT_TRUE(reason.has_value());
  }

  Scheduler scheduler_;
  const int32_t latency_;
  std::optional<FakeExecutor> executor_;
  std::map<RequestId, Client> clients_;
  RequestId next_id_ = 1;
  int64_t round_ = 0;
};

class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed) {}
  int64_t Between(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(engine_);
  }
  bool OneIn(int64_t n) { return Between(1, n) == 1; }
  template <class T>
  T Pick(std::initializer_list<T> values) {
    return *(values.begin() + Between(0, static_cast<int64_t>(values.size()) - 1));
  }

 private:
  std::mt19937_64 engine_;
};

SchedulerOptions RandomOptions(Dice* dice) {
  SchedulerOptions options;
  options.num_groups = dice->Pick({1, 1, 2, 3, 4, 8});
  options.num_domains = dice->OneIn(3) ? 1 : options.num_groups;
  options.max_in_flight = dice->Pick({1, 2, 2, 2});
  options.block_size = dice->Pick({1, 3, 4, 16});
  options.blocks_per_group = (60 + dice->Pick({0, 10, 60, 500})) / options.block_size + 1;
  options.num_blocks = options.num_groups * options.blocks_per_group + dice->Pick({0, 0, 7});
  options.max_seq_len = 60;
  options.max_batch_size = dice->Pick({1, 2, 5, 100});
  options.max_step_tokens = dice->Pick({1, 6, 20, 200});
  options.max_prefill_batch_size = dice->Pick({1, 3, 50});
  options.prefill_chunk_tokens = dice->Pick({1, 5, 64});
  options.max_running_requests = dice->Pick({1, 4, 1000});
  options.placement =
      dice->Pick({PlacementPolicy::kFirstToken, PlacementPolicy::kFirstToken, PlacementPolicy::kRoundRobin,
                  PlacementPolicy::kShortestQueue, PlacementPolicy::kFewestUsedBlocks});
  return options;
}

Request RandomRequest(Dice* dice, const SchedulerOptions& options) {
  Request request;
  const int64_t num_prompt = dice->Pick({dice->Between(1, 4), dice->Between(1, 40), dice->Between(1, 58)});
  for (int64_t i = 0; i < num_prompt; ++i) {
    request.prompt_token_ids.push_back(static_cast<int32_t>(dice->Between(0, kVocabSize - 1)));
  }
  request.max_tokens = static_cast<int32_t>(dice->Pick({dice->Between(1, 3), dice->Between(1, 100)}));
  request.n = dice->OneIn(5) ? static_cast<int32_t>(dice->Between(2, 4)) : 1;
  SamplingParams& sampling = request.sampling;
  sampling.temperature = dice->OneIn(2) ? 0.0f : 1.0f;
  sampling.seed = static_cast<uint64_t>(dice->Between(0, 1000000));
  if (dice->OneIn(2)) {
    for (int32_t i = 0; i < 10; ++i) sampling.stop_token_ids.push_back(i);
  }
  if (dice->OneIn(6)) sampling.num_logprobs = 2;
  if (dice->OneIn(6)) {
    sampling.num_prompt_logprobs = 0;
    if (dice->OneIn(2)) request.max_tokens = 0;
  }
  if (dice->OneIn(4))
    request.data_parallel_rank = static_cast<int32_t>(dice->Between(0, options.num_groups - 1));
  return request;
}

TEST(SchedulerRandom, InvariantsHoldWhateverClientsDo) {
  int64_t num_steps = 0, num_preemptions = 0, num_skipped = 0;
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Dice dice(seed);
    const SchedulerOptions options = RandomOptions(&dice);
    House house(options, static_cast<int32_t>(dice.Between(0, 2)));
    const int64_t rate = dice.Between(1, 8);
    for (int round = 0; round < 120; ++round) {
      if (dice.OneIn(rate)) house.Add(RandomRequest(&dice, options));
      if (house.num_clients() > 0 && dice.OneIn(15)) {
        const RequestId id =
            static_cast<RequestId>(dice.Between(1, static_cast<int64_t>(house.num_clients())));
        if (dice.OneIn(2)) {
          house.Abort(id);
        } else {
          house.FinishSequence(id, 0);
        }
      }
      house.Round();
      if (HasFatalFailure()) return;
    }
    house.RunToTheEnd();
    if (HasFatalFailure()) return;
    house.CheckEnd();
    if (HasFailure()) return;
    num_steps += house.executor().num_steps();
    num_preemptions += house.num_preemptions();
    num_skipped += house.executor().num_skipped();
  }
  std::printf("%ld steps, %ld preemptions, %ld rows skipped after a stop token\n",
              static_cast<long>(num_steps), static_cast<long>(num_preemptions),
              static_cast<long>(num_skipped));
  EXPECT_GT(num_steps, 5000);
  EXPECT_GT(num_preemptions, 50);
  EXPECT_GT(num_skipped, 50);
}

// One crowd of requests under every layout, chunk size and pool size: the tokens of each are those of each
// alone.
TEST(SchedulerRandom, TheSameTokensUnderEveryLayout) {
  Dice dice(42);
  SchedulerOptions options;
  options.max_seq_len = 60;
  std::vector<Request> crowd;
  for (int i = 0; i < 24; ++i) {
    Request request = RandomRequest(&dice, options);
    request.data_parallel_rank.reset();
    crowd.push_back(request);
  }
  int64_t num_preemptions = 0;
  for (int32_t num_groups : {1, 2, 4, 8}) {
    for (int64_t chunk : {1, 7, 64}) {
      for (int64_t blocks : {16, 24, 400}) {
        options.num_groups = options.num_domains = num_groups;
        options.block_size = 4;
        options.blocks_per_group = blocks;
        options.num_blocks = num_groups * blocks;
        options.prefill_chunk_tokens = static_cast<int32_t>(chunk);
        options.max_step_tokens = 16 * chunk;
        House house(options, 1);
        for (const Request& request : crowd) house.Add(request);
        house.RunToTheEnd();
        house.CheckEnd();
        ASSERT_FALSE(HasFailure()) << num_groups << " groups, chunks of " << chunk << ", " << blocks
                                   << " blocks";
        num_preemptions += house.num_preemptions();
      }
    }
  }
  EXPECT_GT(num_preemptions, 20);
}

TEST(SchedulerRandom, TheSameCallsGiveTheSamePlans) {
  const auto run = [] {
    Dice dice(7);
    SchedulerOptions options = RandomOptions(&dice);
    Scheduler scheduler(options);
    std::vector<std::pair<SequenceId, std::vector<int32_t>>> plans;
    for (RequestId id = 1; id <= 20; ++id) {
      Request request = RandomRequest(&dice, options);
      request.id = id;
      EXPECT_TRUE(scheduler.Add(request).ok());
    }
    for (int i = 0; i < 60; ++i) {
      for (int32_t domain = 0; domain < options.num_domains; ++domain) {
        const auto plan = scheduler.Schedule(domain);
        if (!plan) continue;
        StepResult result;
        result.step_id = plan->step_id;
        result.domain = domain;
        for (const Batch& batch : plan->batches) {
          for (const SequenceStep& step : batch.steps) {
            plans.emplace_back(step.id, step.new_block_ids);
            if (step.samples) result.tokens.push_back({.id = step.id, .token_id = 1, .logprobs = {}});
          }
        }
        scheduler.Update(result);
      }
    }
    return plans;
  };
  const auto first = run();
  EXPECT_GT(first.size(), 50u);
  EXPECT_EQ(first, run());
}

}  // namespace
}  // namespace phalanx
