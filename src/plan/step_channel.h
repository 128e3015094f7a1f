#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/clock.h"
#include "base/shared_memory.h"
#include "base/status.h"
#include "base/wait.h"
#include "plan/step_plan.h"
#include "plan/step_result.h"

namespace phalanx {

// Steps of one domain that may be under way at once: its slots.
inline constexpr int kStepSlots = 2;
inline constexpr int kMaxRanksPerDomain = 64;

// Sizes of the shared memory behind all domains of a service; both ends must use the same.
struct StepChannelShape {
  int num_domains = 1;
  int ranks_per_domain = 1;
  // Room for one plan and for one result. Only what is written takes memory.
  size_t plan_bytes = size_t{64} << 20;
  size_t result_bytes = size_t{64} << 20;

  size_t domain_bytes() const;
  size_t total_bytes() const;
};

// Plans go down and results come up through shared memory: per domain a ring of kStepSlots slots with one
// plan and one result each. Every rank of the domain reads the same plan, its first rank writes the result,
// the last one to finish rings the doorbell that all domains share. A fenced domain lets every rank leave its
// wait.

// The daemon's end: owns the memory. One thread, but for Ring and Fence.
class StepChannelHost {
 public:
  static Result<StepChannelHost> Create(const StepChannelShape& shape);

  const StepChannelShape& shape() const { return shape_; }
  const SharedMemory& memory() const { return memory_; }

  // Sends a plan to all ranks of plan.domain. ResourceExhausted if it does not fit its slot.
  // Requires: fewer than kStepSlots steps of the domain under way.
  Status Publish(const StepPlan& plan);
  // Steps of the domain that were published and not collected.
  int InFlight(int domain) const;
  // The oldest step's result once all ranks have finished it. Its status is the first error that a rank
  // reported, with failed_rank as the rank's number within the domain; `seconds` is that of the slowest rank.
  std::optional<StepResult> Collect(int domain);
  // The first rank of the domain, numbered within it, that has not finished the oldest step; -1 if none.
  int FirstUnfinishedRank(int domain) const;

  // Ends all waits of the domain's ranks, now and later. Any thread.
  void Fence(int domain);
  // Any thread.
  void Ring() { doorbell()->Add(1); }
  // Waits until the doorbell has rung since the last call returned, or the deadline.
  void WaitForRing(SteadyTime deadline);

 private:
  struct Ticket {
    uint32_t published = 0;
    uint32_t collected = 0;
  };
  WaitWord* doorbell() const;

  StepChannelShape shape_;
  SharedMemory memory_;
  SharedMapping mapping_;
  std::vector<Ticket> tickets_;
  uint32_t rings_seen_ = 0;
};

// A rank's end. One thread.
class StepChannelRank {
 public:
  enum class Next { kPlan, kFenced, kTimeout };

  static Result<StepChannelRank> Attach(const SharedMemory& memory, const StepChannelShape& shape, int domain,
                                        int rank_in_domain);

  // Waits for the next plan and reads it. Internal if what is there is no plan.
  Result<Next> WaitForPlan(StepPlan* plan, SteadyTime deadline = SteadyTime::max());
  // Says that this rank has finished the plan. The first rank of the domain gives the result with it, the
  // others null.
  void Finish(const Status& status, const StepResult* result, double seconds);

 private:
  StepChannelShape shape_;
  SharedMapping mapping_;
  int domain_ = 0;
  int rank_ = 0;
  uint32_t finished_ = 0;  // plans
};

}  // namespace phalanx
