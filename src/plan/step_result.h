#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "plan/request.h"
#include "plan/step_plan.h"

namespace phalanx {

// What a row that samples gave.
struct SampledToken {
  static constexpr int32_t kSkipped =
      -1;  // the sequence had already ended with a stop token: nothing was computed
  SequenceId id = 0;
  int32_t token_id = kSkipped;
  bool stopped = false;  // token_id is one of the sequence's stop_token_ids
  bool has_logprobs = false;
  TokenLogprobs logprobs;  // if has_logprobs
};

// Log-probabilities of prompt tokens at positions first_position ... of one sequence (num_prompt_logprobs >= 0).
struct PromptLogprobs {
  SequenceId id = 0;
  int64_t first_position = 0;  // >= 1: the first prompt token has none
  std::vector<TokenLogprobs> tokens;
};

// The answer to one StepPlan, of all its groups.
struct StepResult {
  StepId step_id = 0;
  int32_t domain = 0;
  Status status;  // an error ends the step: no tokens
  int32_t failed_rank = -1;
  std::vector<SampledToken> tokens;
  std::vector<PromptLogprobs> prompt_logprobs;
  int64_t num_tokens = 0;  // rows computed
  double seconds = 0;      // the slowest rank's time in the step
};

}  // namespace phalanx
