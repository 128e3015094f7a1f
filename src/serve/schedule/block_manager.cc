#include "serve/schedule/block_manager.h"

#include "base/check.h"

namespace phalanx {

BlockManager::BlockManager(int64_t num_blocks, int32_t num_groups, int64_t blocks_per_group)
    : blocks_per_group_(blocks_per_group),
      references_(num_blocks, 0),
      group_of_(num_blocks, -1),
      used_(num_groups, 0),
      released_(num_groups) {
  CHECK(num_groups > 0 && blocks_per_group >= 0 && num_groups * blocks_per_group <= num_blocks);
  free_.reserve(num_blocks);
  for (int64_t id = num_blocks - 1; id >= 0; --id) free_.push_back(static_cast<int32_t>(id));
}

int32_t BlockManager::Allocate(int32_t group) {
  CHECK(NumFree(group) > 0);
  int32_t block_id;
  if (!released_[group].empty()) {
    block_id = released_[group].back().block_id;
    released_[group].pop_back();
  } else {
    // Used and released blocks of a group are together never more than its share, and the shares fit the
    // pool.
    CHECK(!free_.empty());
    block_id = free_.back();
    free_.pop_back();
  }
  CHECK(references_[block_id] == 0);
  references_[block_id] = 1;
  group_of_[block_id] = group;
  ++used_[group];
  return block_id;
}

void BlockManager::AddReference(int32_t block_id) {
  CHECK(references_[block_id] > 0);
  ++references_[block_id];
}

void BlockManager::Free(int32_t block_id, StepId last_step, StepId returned_step) {
  CHECK(references_[block_id] > 0);
  if (--references_[block_id] > 0) return;
  const int32_t group = group_of_[block_id];
  --used_[group];
  if (last_step > returned_step) {
    released_[group].push_back({block_id, last_step});
  } else {
    free_.push_back(block_id);
  }
}

void BlockManager::StepReturned(int32_t group, StepId step) {
  std::deque<Released>& released = released_[group];
  while (!released.empty() && released.front().last_step <= step) {
    free_.push_back(released.front().block_id);
    released.pop_front();
  }
}

}  // namespace phalanx
