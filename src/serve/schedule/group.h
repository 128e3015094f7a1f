#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "plan/step_plan.h"
#include "serve/schedule/block_manager.h"
#include "serve/schedule/placement.h"
#include "serve/schedule/request_output.h"
#include "serve/schedule/scheduler_options.h"
#include "serve/schedule/sequence.h"

namespace phalanx {

// The sequences of one attention-dp group, and how they share its steps and blocks. Part of the Scheduler.
//
// Running sequences hold blocks: at placement those of all known tokens, so that a prompt once begun is never
// held up, then one by one. When a decoding sequence finds no free block, the newest running one is
// preempted: it goes to the bound queue (sequences that only this group may take), which is in order of age
// and comes before everything that is not bound, so the oldest sequence of a group always moves on and
// everyone becomes the oldest one day.
class Group {
 public:
  // `options` and `blocks` outlive it.
  Group(int32_t index, const SchedulerOptions* options, BlockManager* blocks);

  // Whether Place would find room: a place in the batch, blocks, and fewer prompt tokens ahead than one step
  // takes (what waits in the common queue can still go to whichever group is ready first).
  bool HasRoomFor(const Sequence& sequence) const;
  GroupLoad Load() const;
  // The sequence becomes one of the running. Requires: HasRoomFor.
  void Place(Sequence* sequence);

  const std::deque<Sequence*>& bound() const { return bound_; }
  // Into the bound queue, by age.
  void Bind(Sequence* sequence);
  void UnbindFirst() { bound_.pop_front(); }

  // Takes an ended sequence out; the workers hear of it in the next plan.
  void Remove(Sequence* sequence);

  // The two halves of a plan, in this order: one row of each decoding sequence, oldest first; then prompt
  // chunks, first come first served. `others_decode`: a sequence of the domain decodes in this plan, so
  // chunks are kept small.
  void PlanDecodes(Batch* batch);
  void PlanChunks(bool others_decode, Batch* batch);
  // The plan is the domain's `step`: it carries what the workers must forget.
  void FinishPlan(StepId step, Batch* batch);
  bool has_ended() const { return !ended_.empty(); }
  // The result of `step` has come.
  void StepReturned(StepId step);

  const std::vector<Sequence*>& running() const { return running_; }
  GroupStats Stats() const;
  GroupStats* mutable_sums() { return &sums_; }

 private:
  // Makes sure that the sequence has the block of its next token; may preempt others or itself.
  // False: it has no part in this step.
  bool EnsureBlock(Sequence* sequence);
  void Preempt(Sequence* sequence);
  // Takes it out of the running list and frees its blocks.
  void StopRunning(Sequence* sequence);
  void AddStep(Sequence* sequence, int64_t num_tokens, Batch* batch);
  // Prompt tokens that one step takes, as far as the group itself is concerned.
  int64_t ChunkBudget() const;
  int64_t BlocksFor(int64_t num_tokens) const {
    return (num_tokens + options_->block_size - 1) / options_->block_size;
  }

  const int32_t index_;
  const SchedulerOptions* options_;
  BlockManager* blocks_;

  std::vector<Sequence*> running_;  // oldest first
  std::deque<Sequence*> bound_;     // oldest first
  std::vector<SequenceId> ended_;   // known to the workers, to be forgotten with the next plan
  int64_t backlog_tokens_ = 0;      // of running sequences that have not sampled: tokens not planned yet
  int64_t num_sampled_ = 0;         // running sequences that have sampled

  StepId last_step_ = 0;                  // planned
  StepId returned_step_ = 0;              // whose result has come
  std::deque<int64_t> in_flight_tokens_;  // of the steps between them
  GroupStats sums_;
};

}  // namespace phalanx
