#include "serve/schedule/sequence.h"

#include <algorithm>

#include "base/check.h"

namespace phalanx {

SequenceStep Sequence::PlanStep(int64_t num_tokens) {
  CHECK(num_tokens >= 1 && num_tokens <= num_remaining() && !finishing());
  SequenceStep step;
  step.id = id;
  step.first_position = num_computed;
  step.num_new_tokens = static_cast<int32_t>(num_tokens);
  if (!sampled) {
    const std::vector<int32_t>& prompt = owner->request.prompt_token_ids;
    const int64_t end = num_computed + num_tokens;
    const int64_t prompt_end = std::min(end, num_prompt());
    step.token_ids.reserve(num_tokens);
    if (num_computed < prompt_end) {
      step.token_ids.assign(prompt.begin() + num_computed, prompt.begin() + prompt_end);
    }
    for (int64_t p = std::max(num_computed, num_prompt()); p < end; ++p) {
      step.token_ids.push_back(output_token_ids[p - num_prompt()]);
    }
  }
  if (num_sent_blocks < block_ids.size()) {
    step.new_block_ids.assign(block_ids.begin() + num_sent_blocks, block_ids.end());
    num_sent_blocks = block_ids.size();
  }
  // The successor of the last row is known when the sequence is computed again.
  step.samples = max_new_tokens > 0 && num_tokens == num_remaining();
  num_computed += num_tokens;
  if (step.samples) {
    ++num_pending;
    sampled = true;
  }
  return step;
}

SequenceStart Sequence::MakeStart() const {
  SequenceStart start;
  start.id = id;
  start.choice = index;
  start.num_prompt_tokens = static_cast<int32_t>(num_prompt());
  start.reserved_length = num_prompt() + max_new_tokens;
  start.sampling = owner->request.sampling;
  // The prompt is the same for all choices, and its log-probabilities are handed out once.
  if (index != 0 || owner->next_prompt_logprob >= num_prompt()) start.sampling.num_prompt_logprobs = -1;
  return start;
}

void Sequence::StartOver() {
  num_computed = 0;
  started = false;
  sampled = false;
  num_sent_blocks = 0;
}

}  // namespace phalanx
