#include "testing/fake_executor.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/check.h"

namespace phalanx {
namespace {

using TimePoint = std::chrono::steady_clock::time_point;

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15ull;
  hash ^= hash >> 29;
  hash *= 0xBF58476D1CE4E5B9ull;
  return hash ^ (hash >> 32);
}

TokenLogprobs FakeLogprobs(int32_t token_id, int32_t num_top, int32_t vocab_size) {
  TokenLogprobs logprobs;
  logprobs.token_id = token_id;
  logprobs.logprob = -0.5f;
  for (int32_t i = 0; i < num_top; ++i) {
    logprobs.top.push_back({(token_id + i) % vocab_size, -0.5f * static_cast<float>(i + 1)});
  }
  return logprobs;
}

}  // namespace

FakeModel HashModel(int32_t vocab_size) {
  return [vocab_size](const SequenceStart& start, const std::vector<int32_t>& tokens) {
    uint64_t hash = 1;
    for (int32_t token : tokens) hash = Mix(hash, static_cast<uint64_t>(token));
    if (start.sampling.temperature > 0) {
      hash = Mix(Mix(Mix(hash, start.sampling.seed), static_cast<uint64_t>(start.choice)), tokens.size());
    }
    return static_cast<int32_t>(hash % static_cast<uint64_t>(vocab_size));
  };
}

FakeModel ScriptModel(std::vector<int32_t> script) {
  CHECK(!script.empty());
  return [script = std::move(script)](const SequenceStart& start, const std::vector<int32_t>& tokens) {
    const size_t done = tokens.size() - static_cast<size_t>(start.num_prompt_tokens);
    return script[std::min(done, script.size() - 1)];
  };
}

// What the ranks of all groups know and hold, and one step of it.
class FakeExecutor::Ranks {
 public:
  explicit Ranks(const FakeExecutorOptions& options)
      : facts_(options.facts),
        model_(options.model ? options.model : HashModel(options.facts.vocab_size)),
        slots_(static_cast<size_t>(facts_.num_blocks * facts_.block_size), 0) {}

  StepResult Run(const StepPlan& plan) {
    StepResult result;
    result.step_id = plan.step_id;
    result.domain = plan.domain;
    for (const Batch& batch : plan.batches) {
      for (SequenceId id : batch.ended) held_.erase(id);
      for (const SequenceStart& start : batch.started) held_[start.id].start = start;
      for (const SequenceStep& step : batch.steps) RunSequence(step, &result);
    }
    num_rows_ += result.num_tokens;
    return result;
  }

  int64_t num_rows() const { return num_rows_; }
  int64_t num_skipped() const { return num_skipped_; }

 private:
  struct Held {
    SequenceStart start;
    std::vector<int32_t> tokens;        // computed ones, and the last sampled one
    std::vector<uint64_t> prefix_hash;  // by position: what its cache slot must hold
    std::vector<int32_t> block_table;
    bool stopped = false;
  };

  void RunSequence(const SequenceStep& step, StepResult* result) {
    Held& held = held_.at(step.id);
    held.block_table.insert(held.block_table.end(), step.new_block_ids.begin(), step.new_block_ids.end());
    if (held.stopped) {
      ++num_skipped_;
      if (step.samples) result->tokens.push_back({.id = step.id, .logprobs = {}});
      return;
    }
    held.tokens.insert(held.tokens.end(), step.token_ids.begin(), step.token_ids.end());
    const int64_t end = step.first_position + step.num_new_tokens;
    CHECK(static_cast<int64_t>(held.tokens.size()) == end);
    for (int64_t position = step.first_position; position < end; ++position) Store(&held, position);
    for (int64_t position = 0; position < end; ++position) {
      CHECK(Slot(held, position) == held.prefix_hash[static_cast<size_t>(position)]);
    }
    result->num_tokens += step.num_new_tokens;
    AddPromptLogprobs(held, step, result);
    if (step.samples) Sample(&held, step.id, result);
  }

  uint64_t& Slot(const Held& held, int64_t position) {
    const int64_t block = held.block_table.at(static_cast<size_t>(position / facts_.block_size));
    return slots_.at(static_cast<size_t>(block * facts_.block_size + position % facts_.block_size));
  }

  void Store(Held* held, int64_t position) {
    const uint64_t before = position == 0 ? 1 : held->prefix_hash.back();
    held->prefix_hash.push_back(
        Mix(before, static_cast<uint64_t>(held->tokens[static_cast<size_t>(position)]) + 1));
    Slot(*held, position) = held->prefix_hash.back();
  }

  void AddPromptLogprobs(const Held& held, const SequenceStep& step, StepResult* result) {
    const int32_t num_top = held.start.sampling.num_prompt_logprobs;
    if (num_top < 0) return;
    PromptLogprobs logprobs;
    logprobs.id = step.id;
    logprobs.first_position = std::max<int64_t>(1, step.first_position);
    const int64_t end =
        std::min<int64_t>(step.first_position + step.num_new_tokens, held.start.num_prompt_tokens);
    for (int64_t position = logprobs.first_position; position < end; ++position) {
      logprobs.tokens.push_back(
          FakeLogprobs(held.tokens[static_cast<size_t>(position)], num_top, facts_.vocab_size));
    }
    if (!logprobs.tokens.empty()) result->prompt_logprobs.push_back(std::move(logprobs));
  }

  void Sample(Held* held, SequenceId id, StepResult* result) {
    const SamplingParams& sampling = held->start.sampling;
    SampledToken token;
    token.id = id;
    token.token_id = model_(held->start, held->tokens);
    token.stopped = std::find(sampling.stop_token_ids.begin(), sampling.stop_token_ids.end(),
                              token.token_id) != sampling.stop_token_ids.end();
    token.has_logprobs = sampling.num_logprobs >= 0;
    if (token.has_logprobs) {
      token.logprobs = FakeLogprobs(token.token_id, sampling.num_logprobs, facts_.vocab_size);
    }
    held->tokens.push_back(token.token_id);
    held->stopped = token.stopped;
    result->tokens.push_back(std::move(token));
  }

  const ExecutorFacts facts_;
  const FakeModel model_;
  std::vector<uint64_t> slots_;
  std::unordered_map<SequenceId, Held> held_;
  int64_t num_rows_ = 0, num_skipped_ = 0;
};

FakeExecutor::FakeExecutor(FakeExecutorOptions options)
    : options_(std::move(options)),
      domains_(static_cast<size_t>(options_.facts.num_domains)),
      checker_(options_.facts, options_.limits),
      ranks_(std::make_unique<Ranks>(options_)) {
  for (Domain& domain : domains_) domain.released = options_.holds_results ? 0 : INT64_MAX;
}

FakeExecutor::~FakeExecutor() = default;

Status FakeExecutor::Submit(const StepPlan& plan) {
  std::lock_guard lock(mutex_);
  CHECK(plan.domain >= 0 && plan.domain < options_.facts.num_domains);
  Domain& domain = domains_[static_cast<size_t>(plan.domain)];
  if (domain.failed_rank >= 0) {
    return Unavailable("rank " + std::to_string(domain.failed_rank) + " has ended");
  }
  CHECK(domain.in_flight.size() < kMaxInFlight);
  checker_.CheckPlan(plan);
  const TimePoint begin =
      domain.in_flight.empty() ? std::chrono::steady_clock::now() : domain.in_flight.back().done_at;
  domain.in_flight.push_back({plan, options_.latency, begin + options_.step_time});
  max_in_flight_ = std::max(max_in_flight_, static_cast<int64_t>(domain.in_flight.size()));
  return Status::Ok();
}

std::vector<StepResult> FakeExecutor::FailedResults(int32_t domain_index) {
  Domain& domain = domains_[static_cast<size_t>(domain_index)];
  std::vector<StepResult> results;
  for (const Flying& flying : domain.in_flight) {
    StepResult& result = results.emplace_back();
    result.step_id = flying.plan.step_id;
    result.domain = domain_index;
    result.failed_rank = domain.failed_rank;
    result.status = Unavailable("rank " + std::to_string(domain.failed_rank) + " has ended");
  }
  domain.in_flight.clear();
  return results;
}

std::vector<StepResult> FakeExecutor::Collect() {
  std::lock_guard lock(mutex_);
  std::vector<StepResult> results;
  const TimePoint now = std::chrono::steady_clock::now();
  for (int32_t d = 0; d < options_.facts.num_domains; ++d) {
    Domain& domain = domains_[static_cast<size_t>(d)];
    if (domain.failed_rank >= 0) {
      for (StepResult& result : FailedResults(d)) results.push_back(std::move(result));
      continue;
    }
    while (!domain.in_flight.empty() && domain.released > 0) {
      Flying& front = domain.in_flight.front();
      if (front.done_at > now) break;
      if (front.collects_left > 0) {
        --front.collects_left;
        break;
      }
      StepResult& result = results.emplace_back(ranks_->Run(front.plan));
      result.seconds = std::chrono::duration<double>(options_.step_time).count();
      checker_.StepReturned(d, result.step_id);
      domain.in_flight.pop_front();
      --domain.released;
      ++num_steps_;
    }
  }
  return results;
}

bool FakeExecutor::HasWork(const Domain& domain, TimePoint* when) const {
  if (domain.in_flight.empty()) return false;
  if (domain.failed_rank >= 0) {
    *when = TimePoint::min();
    return true;
  }
  if (domain.released <= 0) return false;
  *when = domain.in_flight.front().done_at;
  return true;
}

void FakeExecutor::WaitForWork(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  const TimePoint end = std::chrono::steady_clock::now() + timeout;
  while (!woken_) {
    TimePoint next = end;
    for (const Domain& domain : domains_) {
      TimePoint when;
      if (HasWork(domain, &when)) next = std::min(next, when);
    }
    if (next <= std::chrono::steady_clock::now()) break;
    work_.wait_until(lock, next);
  }
  woken_ = false;
}

void FakeExecutor::Wake() {
  std::lock_guard lock(mutex_);
  woken_ = true;
  work_.notify_all();
}

void FakeExecutor::FailDomain(int32_t domain, int32_t rank) {
  std::lock_guard lock(mutex_);
  domains_[static_cast<size_t>(domain)].failed_rank = rank;
  work_.notify_all();
}

void FakeExecutor::Release(int64_t num_steps) {
  std::lock_guard lock(mutex_);
  for (Domain& domain : domains_) domain.released += std::min(num_steps, INT64_MAX - domain.released);
  work_.notify_all();
}

int64_t FakeExecutor::num_steps() const {
  std::lock_guard lock(mutex_);
  return num_steps_;
}

int64_t FakeExecutor::num_rows() const {
  std::lock_guard lock(mutex_);
  return ranks_->num_rows();
}

int64_t FakeExecutor::num_skipped() const {
  std::lock_guard lock(mutex_);
  return ranks_->num_skipped();
}

int64_t FakeExecutor::num_held_sequences() const {
  std::lock_guard lock(mutex_);
  return checker_.num_known_sequences();
}

int64_t FakeExecutor::num_in_flight() const {
  std::lock_guard lock(mutex_);
  int64_t total = 0;
  for (const Domain& domain : domains_) total += static_cast<int64_t>(domain.in_flight.size());
  return total;
}

int64_t FakeExecutor::max_in_flight() const {
  std::lock_guard lock(mutex_);
  return max_in_flight_;
}

}  // namespace phalanx
