#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "serve/engine/executor.h"
#include "testing/plan_checker.h"

namespace phalanx {

// The token after `tokens` (prompt and output so far) of the sequence that `start` describes.
using FakeModel = std::function<int32_t(const SequenceStart& start, const std::vector<int32_t>& tokens)>;

struct FakeExecutorOptions {
  ExecutorFacts facts{.vocab_size = 1000,
                      .max_model_len = 2560,
                      .block_size = 16,
                      .num_blocks = 1024,
                      .blocks_per_group = 1024};
  FakeModel model;                         // empty: HashModel(vocab_size)
  int32_t latency = 0;                     // Collect calls that pass before a step is done
  std::chrono::microseconds step_time{0};  // real time that a step takes
  bool holds_results = false;              // nothing is done until Release
  PlanChecker::Limits limits;              // that every plan is checked against
};

// A model whose next token is a hash of all tokens so far (of seed, choice and position too where temperature
// > 0), so that the layout, the company, chunks and recomputation must not change it.
FakeModel HashModel(int32_t vocab_size);
// Gives `script` token by token after any prompt, and the last one for ever after.
FakeModel ScriptModel(std::vector<int32_t> script);

// Workers without processes or tensors. Keeps the state that workers would keep (block tables, tokens, the
// content of every cache slot), and CHECKs that each plan is right by it (PlanChecker) and that every row
// finds the keys of all earlier positions of its own sequence in the cache, whatever happened to the blocks
// meanwhile. Steps are done in Collect, in order of submission. Thread-safe, so that a test may use it beside
// an Engine's thread.
class FakeExecutor : public Executor {
 public:
  explicit FakeExecutor(FakeExecutorOptions options);
  ~FakeExecutor() override;

  const ExecutorFacts& facts() const override { return options_.facts; }
  Status Submit(const StepPlan& plan) override;
  std::vector<StepResult> Collect() override;
  void WaitForWork(std::chrono::milliseconds timeout) override;
  void Wake() override;

  // From now on every step under way in `domain`, and every later one, ends with Unavailable naming `rank`.
  void FailDomain(int32_t domain, int32_t rank);
  // With holds_results: lets `num_steps` more steps of each domain be done.
  void Release(int64_t num_steps = INT64_MAX / 2);

  int64_t num_steps() const;           // done
  int64_t num_rows() const;            // computed
  int64_t num_skipped() const;         // rows that were void because of a stop token
  int64_t num_held_sequences() const;  // that the workers know
  int64_t num_in_flight() const;
  // The largest number of steps that were under way in one domain at once.
  int64_t max_in_flight() const;

 private:
  class Ranks;
  struct Flying {
    StepPlan plan;
    int32_t collects_left;
    std::chrono::steady_clock::time_point done_at;
  };
  struct Domain {
    std::deque<Flying> in_flight;
    int32_t failed_rank = -1;
    int64_t released = 0;
  };

  // Whether a Collect would get nearer to a result of the domain, now or at `*when`.
  bool HasWork(const Domain& domain, std::chrono::steady_clock::time_point* when) const;
  std::vector<StepResult> FailedResults(int32_t domain_index);

  const FakeExecutorOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable work_;
  bool woken_ = false;
  std::vector<Domain> domains_;
  PlanChecker checker_;
  std::unique_ptr<Ranks> ranks_;
  int64_t num_steps_ = 0, max_in_flight_ = 0;
};

}  // namespace phalanx
