#include "serve/schedule/group.h"

#include <algorithm>

#include "base/check.h"

namespace phalanx {
namespace {

bool Older(const Sequence* a, const Sequence* b) {
  return a->id < b->id;
}

}  // namespace

Group::Group(int32_t index, const SchedulerOptions* options, BlockManager* blocks)
    : index_(index), options_(options), blocks_(blocks) {
  running_.reserve(options->max_batch_size);
}

bool Group::HasRoomFor(const Sequence& sequence) const {
  const int64_t needed = BlocksFor(sequence.num_known());
  if (running_.empty()) return blocks_->NumFree(index_) >= needed;
  // Some blocks are left for those that grow, so that a newcomer does not cost somebody else's blocks at
  // once.
  const int64_t reserve = static_cast<int64_t>(running_.size() + 3) / 4;
  return static_cast<int64_t>(running_.size()) < options_->max_batch_size &&
         backlog_tokens_ < ChunkBudget() && blocks_->NumFree(index_) >= needed + reserve;
}

int64_t Group::ChunkBudget() const {
  if (num_sampled_ == 0) return options_->max_step_tokens;
  return std::min<int64_t>(options_->prefill_chunk_tokens, options_->max_step_tokens);
}

GroupLoad Group::Load() const {
  GroupLoad load;
  load.group = index_;
  load.backlog_tokens = backlog_tokens_;
  for (int64_t tokens : in_flight_tokens_) load.in_flight_tokens += tokens;
  load.num_sequences = static_cast<int64_t>(running_.size());
  load.num_decoding = num_sampled_;
  load.used_blocks = blocks_->NumUsed(index_);
  return load;
}

void Group::Place(Sequence* sequence) {
  CHECK(!sequence->running && sequence->num_pending == 0 && HasRoomFor(*sequence));
  const int64_t needed = BlocksFor(sequence->num_known());
  sequence->block_ids.reserve(BlocksFor(sequence->max_computed()));
  for (int64_t i = 0; i < needed; ++i) sequence->block_ids.push_back(blocks_->Allocate(index_));
  sequence->group = index_;
  sequence->running = true;
  backlog_tokens_ += sequence->num_remaining();
  running_.insert(std::upper_bound(running_.begin(), running_.end(), sequence, Older), sequence);
}

void Group::Bind(Sequence* sequence) {
  sequence->group = index_;
  bound_.insert(std::upper_bound(bound_.begin(), bound_.end(), sequence, Older), sequence);
}

void Group::Remove(Sequence* sequence) {
  if (sequence->running) {
    StopRunning(sequence);
    return;
  }
  const auto it = std::lower_bound(bound_.begin(), bound_.end(), sequence, Older);
  CHECK(it != bound_.end() && *it == sequence);
  bound_.erase(it);
}

void Group::StopRunning(Sequence* sequence) {
  const auto it = std::lower_bound(running_.begin(), running_.end(), sequence, Older);
  CHECK(it != running_.end() && *it == sequence);
  running_.erase(it);
  if (sequence->sampled) {
    --num_sampled_;
  } else {
    backlog_tokens_ -= sequence->num_remaining();
  }
  // In reverse, so that the next one to take them gets them in the same order.
  for (auto block = sequence->block_ids.rbegin(); block != sequence->block_ids.rend(); ++block) {
    blocks_->Free(*block, last_step_, returned_step_);
  }
  sequence->block_ids.clear();
  if (sequence->started) ended_.push_back(sequence->id);
  sequence->running = false;
}

void Group::Preempt(Sequence* sequence) {
  if (sequence->started) ++sums_.preemptions;
  StopRunning(sequence);
  sequence->StartOver();
  Bind(sequence);
}

bool Group::EnsureBlock(Sequence* sequence) {
  if (BlocksFor(sequence->num_computed + 1) <= static_cast<int64_t>(sequence->block_ids.size())) return true;
  while (blocks_->NumFree(index_) == 0) {
    // A finishing sequence is no victim: it gives its blocks back as soon as its last token has come.
    const auto victim =
        std::find_if(running_.rbegin(), running_.rend(), [](const Sequence* s) { return !s->finishing(); });
    if (*victim != sequence) {
      Preempt(*victim);
      continue;
    }
    const bool some_finish =
        std::any_of(running_.begin(), running_.end(), [](const Sequence* s) { return s->finishing(); });
    if (!some_finish) Preempt(sequence);
    return false;
  }
  sequence->block_ids.push_back(blocks_->Allocate(index_));
  return true;
}

void Group::PlanDecodes(Batch* batch) {
  batch->steps.reserve(running_.size());
  for (size_t i = 0; i < running_.size();) {
    Sequence* sequence = running_[i];
    if (sequence->decoding() && EnsureBlock(sequence)) AddStep(sequence, 1, batch);
    if (i < running_.size() && running_[i] == sequence) ++i;
  }
}

void Group::PlanChunks(bool others_decode, Batch* batch) {
  if (backlog_tokens_ == 0) return;
  int64_t budget = options_->max_step_tokens - batch->num_tokens();
  if (others_decode) budget = std::min<int64_t>(budget, options_->prefill_chunk_tokens);
  int32_t num_chunks = 0;
  for (Sequence* sequence : running_) {
    if (budget <= 0 || num_chunks == options_->max_prefill_batch_size) break;
    if (sequence->sampled || sequence->finishing()) continue;
    const int64_t num_tokens = std::min(sequence->num_remaining(), budget);
    AddStep(sequence, num_tokens, batch);
    budget -= num_tokens;
    ++num_chunks;
  }
}

void Group::AddStep(Sequence* sequence, int64_t num_tokens, Batch* batch) {
  if (!sequence->started) {
    batch->started.push_back(sequence->MakeStart());
    sequence->started = true;
  }
  const bool had_sampled = sequence->sampled;
  batch->steps.push_back(sequence->PlanStep(num_tokens));
  if (!had_sampled) backlog_tokens_ -= num_tokens;
  if (!had_sampled && sequence->sampled) ++num_sampled_;
  const int64_t prompt_done = std::min(sequence->num_computed, sequence->num_prompt());
  if (prompt_done > sequence->num_prompt_counted) {
    sums_.prompt_tokens += prompt_done - sequence->num_prompt_counted;
    sequence->num_prompt_counted = prompt_done;
  }
}

void Group::FinishPlan(StepId step, Batch* batch) {
  batch->ended = std::move(ended_);
  ended_.clear();
  last_step_ = step;
  in_flight_tokens_.push_back(batch->num_tokens());
}

void Group::StepReturned(StepId step) {
  CHECK(step == returned_step_ + 1 && step <= last_step_);
  returned_step_ = step;
  in_flight_tokens_.pop_front();
  blocks_->StepReturned(index_, step);
}

GroupStats Group::Stats() const {
  GroupStats stats = sums_;
  stats.running = static_cast<int64_t>(running_.size());
  stats.waiting = static_cast<int64_t>(bound_.size());
  stats.used_blocks = blocks_->NumUsed(index_);
  stats.total_blocks = blocks_->blocks_per_group();
  return stats;
}

}  // namespace phalanx
