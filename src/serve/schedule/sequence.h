#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "plan/request.h"
#include "plan/step_plan.h"

namespace phalanx {

struct Sequence;

// A Request in the Scheduler, from Add until its final output.
struct LiveRequest {
  Request request;
  std::vector<std::unique_ptr<Sequence>> sequences;  // by choice; null: ended
  int32_t num_unfinished = 0;
  int32_t group = -1;               // where it is computed; -1: not placed yet
  bool running = false;             // a sequence of it has held blocks
  int64_t next_prompt_logprob = 1;  // position of the first prompt log-probability not handed out yet
  int64_t output_slot = -1;         // its place in the outputs of the Update under way
};

// One growing list of tokens of a request. `num_computed` runs ahead of what has come back: it counts the
// tokens of all planned steps, and `num_pending` the sampled tokens among them that are not known yet (the
// next step is planned while the one before is under way). Invariants, for a sequence that holds blocks:
//   num_computed <= num_planned(), and once it has sampled in this start, num_planned() - num_computed is 1.
struct Sequence {
  SequenceId id = 0;  // in order of arrival: the smaller one is older
  LiveRequest* owner = nullptr;
  int32_t index = 0;  // choice
  int32_t group = -1;

  int64_t max_new_tokens = 0;
  std::vector<int32_t> output_token_ids;
  int64_t num_computed = 0;
  int32_t num_pending = 0;
  int64_t num_prompt_counted = 0;  // prompt tokens that the statistics have seen

  bool running = false;  // holds blocks, is in its group's running list
  bool started = false;  // the workers know it
  bool sampled = false;  // a row of it has sampled since it was started
  std::vector<int32_t> block_ids;
  size_t num_sent_blocks = 0;  // of them, those in the workers' block table

  int64_t num_prompt() const { return static_cast<int64_t>(owner->request.prompt_token_ids.size()); }
  int64_t num_known() const { return num_prompt() + static_cast<int64_t>(output_token_ids.size()); }
  int64_t num_planned() const { return num_known() + num_pending; }
  // Tokens that could be computed now.
  int64_t num_remaining() const { return num_planned() - num_computed; }
  // Tokens that will ever be computed: the last new one need not be.
  int64_t max_computed() const { return num_prompt() + (max_new_tokens > 0 ? max_new_tokens - 1 : 0); }
  // Every row that it needs has been planned; it ends when they come back.
  bool finishing() const { return num_computed == max_computed() && (max_new_tokens == 0 || sampled); }
  // Takes one row of each step, for the token that it sampled last.
  bool decoding() const { return sampled && !finishing(); }

  // Plans the next `num_tokens` tokens: the step as the workers get it. Its blocks must be there already.
  // Requires: 1 <= num_tokens <= num_remaining(), and not finishing().
  SequenceStep PlanStep(int64_t num_tokens);
  SequenceStart MakeStart() const;
  // Its blocks were taken: everything must be computed again.
  void StartOver();
};

}  // namespace phalanx
