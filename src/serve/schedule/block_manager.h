#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "plan/step_plan.h"

namespace phalanx {

// Gives and takes the ids of the pool's cache blocks. Counts references (a block shared by several sequences
// is free when the last one lets it go) and keeps each attention-dp group within its share. Sees no memory.
//
// A freed block may still be in use by steps under way. The steps of one domain run in order on the ranks of
// a group, so a later plan of the same group may have it at once; another group gets it only when the steps
// that were under way at the time have returned. Until then it waits in a list of its group, which that
// group's allocations take from first.
//
// Deterministic: the block freed last is given first. One thread.
class BlockManager {
 public:
  // Requires: num_groups * blocks_per_group <= num_blocks.
  BlockManager(int64_t num_blocks, int32_t num_groups, int64_t blocks_per_group);

  // Blocks that `group` may still take. Allocate succeeds at least so often.
  int64_t NumFree(int32_t group) const { return blocks_per_group_ - used_[group]; }
  int64_t NumUsed(int32_t group) const { return used_[group]; }
  int64_t blocks_per_group() const { return blocks_per_group_; }

  // A block with one reference, counted to `group`. Requires: NumFree(group) > 0.
  int32_t Allocate(int32_t group);
  // One more owner of an allocated block; it stays counted to the group that allocated it.
  void AddReference(int32_t block_id);
  // One owner less. With the last one the block is free; `last_step` is the last step planned in the domain
  // of its group, which may still use it, `returned_step` the last one whose result has come.
  void Free(int32_t block_id, StepId last_step, StepId returned_step);
  // The result of `step` of the group's domain has come.
  void StepReturned(int32_t group, StepId step);

  int32_t NumReferences(int32_t block_id) const { return references_[block_id]; }
  int32_t GroupOf(int32_t block_id) const { return group_of_[block_id]; }

 private:
  struct Released {
    int32_t block_id;
    StepId last_step;
  };

  int64_t blocks_per_group_;
  std::vector<int32_t> references_;             // by block id
  std::vector<int32_t> group_of_;               // by block id; the last group that had it
  std::vector<int64_t> used_;                   // by group
  std::vector<std::deque<Released>> released_;  // by group, in order of last_step
  std::vector<int32_t> free_;                   // a stack: any group may have these
};

}  // namespace phalanx
