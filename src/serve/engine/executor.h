#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "base/status.h"
#include "plan/step_plan.h"
#include "plan/step_result.h"

namespace phalanx {

// What the control side must know of the model and the ranks; comes back from the workers at start.
struct ExecutorFacts {
  int32_t num_groups = 1;   // attention-dp groups
  int32_t num_domains = 1;  // lockstep domains; group g of a dense model is domain g
  int32_t vocab_size = 0;
  int64_t max_model_len = 0;     // context length of the model
  int32_t block_size = 128;      // tokens per cache block
  int64_t num_blocks = 0;        // of the whole pool; ids 0 ... num_blocks - 1
  int64_t blocks_per_group = 0;  // a group's share of it
};

// Runs steps. The Engine's thread calls everything but Wake.
class Executor {
 public:
  // Steps that may be under way in one domain at once: the next plan is prepared and sent while the current one runs.
  static constexpr int kMaxInFlight = 2;

  virtual ~Executor() = default;

  virtual const ExecutorFacts& facts() const = 0;
  // Publishes a plan; returns at once. Requires: fewer than kMaxInFlight steps of the domain are under way.
  // Unavailable if the domain has lost a rank.
  virtual Status Submit(const StepPlan& plan) = 0;
  // The results that have come since the last call, in order of step within each domain. Does not block. A rank that
  // died or passed its deadline gives one result with an error for every step under way in its domain.
  virtual std::vector<StepResult> Collect() = 0;
  // Blocks until Collect may have something, Wake was called since the last WaitForWork returned, or the timeout.
  virtual void WaitForWork(std::chrono::milliseconds timeout) = 0;
  // Ends a WaitForWork from any thread.
  virtual void Wake() = 0;
};

}  // namespace phalanx
