#pragma once

#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "plan/step_plan.h"
#include "serve/engine/executor.h"

namespace phalanx {

// Holds each StepPlan against the protocol of plan/step_plan.h, in the order in which plans are made, and
// CHECKs.
class PlanChecker {
 public:
  // Limits of a group's batch; 0: not checked.
  struct Limits {
    int64_t max_step_tokens = 0;
    int32_t max_batch_size = 0;
  };

  PlanChecker(const ExecutorFacts& facts, Limits limits);

  void CheckPlan(const StepPlan& plan);
  void StepReturned(int32_t domain, StepId step) { returned_[domain] = step; }
  int64_t num_known_sequences() const { return static_cast<int64_t>(known_.size()); }

 private:
  struct Known {
    int32_t group = -1;
    int64_t num_computed = 0;
    bool sampled = false;
    std::vector<int32_t> block_table;
  };
  struct LastUse {
    int32_t group = -1;
    StepId step = 0;
  };

  void CheckBatch(const Batch& batch, int32_t group, StepId step_id);
  void CheckStep(const SequenceStep& step, int32_t group, StepId step_id);
  void TakeBlock(int32_t block_id, SequenceId id, int32_t group);
  int32_t DomainOf(int32_t group) const { return group / (facts_.num_groups / facts_.num_domains); }

  const ExecutorFacts facts_;
  const Limits limits_;
  std::unordered_map<SequenceId, Known> known_;
  std::unordered_map<SequenceId, int64_t>
      last_sampled_;                          // position of the last row that sampled, over all starts
  std::vector<SequenceId> owner_;             // by block id; 0: nobody
  std::vector<LastUse> last_use_;             // by block id
  std::vector<int64_t> num_blocks_;           // held by the known sequences of each group
  std::vector<StepId> next_step_, returned_;  // by domain
};

}  // namespace phalanx
