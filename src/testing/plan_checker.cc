#include "testing/plan_checker.h"

#include "base/check.h"

namespace phalanx {

PlanChecker::PlanChecker(const ExecutorFacts& facts, Limits limits)
    : facts_(facts),
      limits_(limits),
      owner_(facts.num_blocks, 0),
      last_use_(facts.num_blocks),
      num_blocks_(facts.num_groups, 0),
      next_step_(facts.num_domains, 1),
      returned_(facts.num_domains, 0) {}

void PlanChecker::CheckPlan(const StepPlan& plan) {
  CHECK(plan.domain >= 0 && plan.domain < facts_.num_domains);
  const int32_t num_groups = facts_.num_groups / facts_.num_domains;
  CHECK(plan.step_id == next_step_[plan.domain]++);
  CHECK(static_cast<int32_t>(plan.batches.size()) == num_groups);
  int64_t num_tokens = 0;
  for (int32_t i = 0; i < num_groups; ++i) {
    CheckBatch(plan.batches[i], plan.domain * num_groups + i, plan.step_id);
    num_tokens += plan.batches[i].num_tokens();
  }
  CHECK(num_tokens > 0);
}

void PlanChecker::CheckBatch(const Batch& batch, int32_t group, StepId step_id) {
  for (SequenceId id : batch.ended) {
    const auto it = known_.find(id);
    CHECK(it != known_.end() && it->second.group == group);
    num_blocks_[group] -= static_cast<int64_t>(it->second.block_table.size());
    for (int32_t block_id : it->second.block_table) {
      if (owner_[block_id] == id) owner_[block_id] = 0;
    }
    known_.erase(it);
  }
  for (const SequenceStart& start : batch.started) {
    CHECK(start.id != 0 && start.num_prompt_tokens > 0);
    CHECK(known_.emplace(start.id, Known{group, 0, false, {}}).second);
  }
  std::unordered_set<SequenceId> seen;
  for (const SequenceStep& step : batch.steps) {
    CHECK(seen.insert(step.id).second);
    CheckStep(step, group, step_id);
  }
  for (const SequenceStart& start : batch.started) CHECK(seen.count(start.id) == 1);
  CHECK(num_blocks_[group] <= facts_.blocks_per_group);
  CHECK(limits_.max_step_tokens == 0 || batch.num_tokens() <= limits_.max_step_tokens);
  CHECK(limits_.max_batch_size == 0 || static_cast<int32_t>(batch.steps.size()) <= limits_.max_batch_size);
}

void PlanChecker::CheckStep(const SequenceStep& step, int32_t group, StepId step_id) {
  const auto it = known_.find(step.id);
  CHECK(it != known_.end());
  Known& sequence = it->second;
  CHECK(sequence.group == group && step.first_position == sequence.num_computed && step.num_new_tokens >= 1);
  if (step.token_ids.empty()) {
    CHECK(step.num_new_tokens == 1 && sequence.sampled);
  } else {
    CHECK(static_cast<int32_t>(step.token_ids.size()) == step.num_new_tokens && !sequence.sampled);
    for (int32_t token : step.token_ids) CHECK(token >= 0 && token < facts_.vocab_size);
  }
  for (int32_t block_id : step.new_block_ids) {
    TakeBlock(block_id, step.id, group);
    sequence.block_table.push_back(block_id);
  }
  num_blocks_[group] += static_cast<int64_t>(step.new_block_ids.size());
  sequence.num_computed += step.num_new_tokens;
  CHECK(sequence.num_computed <= static_cast<int64_t>(sequence.block_table.size()) * facts_.block_size);
  for (int32_t block_id : sequence.block_table) {
    CHECK(owner_[block_id] == step.id);
    last_use_[block_id] = {group, step_id};
  }
  if (step.samples) {
    int64_t& last = last_sampled_.emplace(step.id, -1).first->second;
    CHECK(sequence.num_computed - 1 > last);
    last = sequence.num_computed - 1;
    sequence.sampled = true;
  }
}

void PlanChecker::TakeBlock(int32_t block_id, SequenceId id, int32_t group) {
  CHECK(block_id >= 0 && block_id < facts_.num_blocks);
  // A sequence of another group may have lost its block without its own workers having heard of it yet; it
  // must not come again, and none of its steps may still be under way.
  const auto owner = known_.find(owner_[block_id]);
  CHECK(owner == known_.end() || owner->second.group != group);
  const LastUse& use = last_use_[block_id];
  CHECK(use.group < 0 || use.group == group || use.step <= returned_[DomainOf(use.group)]);
  owner_[block_id] = id;
}

}  // namespace phalanx
