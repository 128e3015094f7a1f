#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "compute/sampling/sampler.h"
#include "plan/step_plan.h"

namespace phalanx {

// What a worker knows of one sequence: the sum of all differences that came with the plans.
struct MirroredSequence {
  explicit MirroredSequence(const SequenceStart& start, int32_t vocab_size)
      : num_prompt_tokens(start.num_prompt_tokens),
        reserved_length(start.reserved_length),
        sampling(start.sampling, start.choice, start.num_prompt_tokens, vocab_size) {}

  // Tells the sampler's state the token at `position`, once: a repeated step tells nothing new.
  void TellToken(int64_t position, int32_t token_id) {
    if (position != num_told) return;
    sampling.AddToken(position, token_id);
    ++num_told;
  }

  int32_t num_prompt_tokens;
  int64_t reserved_length;
  SamplingState sampling;
  std::vector<int32_t> block_table;
  int64_t num_told = 0;       // tokens that `sampling` knows
  int32_t last_sampled = -1;  // -1: none since the start
  bool stopped = false;       // last_sampled was a stop token: later rows are void
  // Logits of the last row so far, where the next prompt token, not known yet, wants its log-probability.
  std::vector<float> prompt_logits;
};

// One sequence's rows of this step, after the plan's differences were applied.
struct StepRows {
  SequenceId id = 0;
  MirroredSequence* sequence = nullptr;
  const int32_t* token_ids = nullptr;  // [num_rows]
  int32_t num_rows = 0;
  int64_t first_position = 0;
  bool samples = false;
  bool skipped = false;  // nothing to compute: the sequence has stopped
};

// All sequences of this worker's group.
class SequenceMirror {
 public:
  struct Limits {
    int32_t vocab_size = 0;      // tokens that the sampler may choose
    int64_t num_embeddings = 0;  // tokens that may come in
    int32_t block_size = 0;
    int64_t num_blocks = 0;
  };
  explicit SequenceMirror(const Limits& limits) : limits_(limits) {}

  // Applies the batch's differences and lays out its rows, in order of its steps. `rows` points into the
  // batch and into this mirror: valid until either changes. Internal for a plan that contradicts what is
  // known; the mirror is of no more use then.
  Status Apply(const Batch& batch, std::vector<StepRows>* rows);

  size_t num_sequences() const { return sequences_.size(); }

 private:
  Status ApplyStep(const SequenceStep& step, StepRows* rows);

  Limits limits_;
  std::unordered_map<SequenceId, MirroredSequence> sequences_;
};

}  // namespace phalanx
