#pragma once

#include <cstdint>
#include <vector>

#include "plan/request.h"

namespace phalanx {

using StepId = uint64_t;

// What the workers must know of a sequence before its first step, and again when it starts over after its blocks were
// taken (recompute).
struct SequenceStart {
  SequenceId id = 0;
  int32_t choice = 0;  // which of the request's n sequences: part of the randomness
  int32_t num_prompt_tokens =
      0;  // tokens at lower positions are the prompt, the others output (penalties differ)
  // The most tokens that the sequence can come to have (prompt + max_tokens): some rope types choose their frequencies
  // by it. 0: no more than the model was trained for.
  int64_t reserved_length = 0;
  SamplingParams sampling;
};

// One sequence's share of a step: `num_new_tokens` tokens from position `first_position` on. Prefill, a chunk of it,
// decode and a resumed sequence differ only in these numbers.
struct SequenceStep {
  SequenceId id = 0;
  int64_t first_position = 0;
  int32_t num_new_tokens = 0;
  // The tokens, num_new_tokens of them; or empty: one token, the last one that this sequence sampled (the scheduler
  // plans a step before the token of the step before came back).
  std::vector<int32_t> token_ids;
  std::vector<int32_t> new_block_ids;  // appended to the sequence's block table before the step
  bool samples = false;                // whether the last row gives a token
};

// The work of one attention-dp group in one step. May be empty.
struct Batch {
  std::vector<SequenceId> ended;  // forget these first
  std::vector<SequenceStart> started;
  std::vector<SequenceStep> steps;

  int64_t num_tokens() const {
    int64_t total = 0;
    for (const SequenceStep& step : steps) total += step.num_new_tokens;
    return total;
  }
};

// One step of one lockstep domain: the groups that must step together (dense models: each group alone; groups that meet
// in experts: all of them). batches[i] is the work of the domain's i-th group; every rank sees all of them.
struct StepPlan {
  StepId step_id = 0;  // counts from 1 in each domain
  int32_t domain = 0;
  std::vector<Batch> batches;
};

}  // namespace phalanx
