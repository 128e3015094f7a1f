#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "compute/kernels/kernel_table.h"
#include "plan/request.h"

namespace phalanx {

// What the sampler remembers of one sequence. Owned by the Worker beside the sequence.
class SamplingState {
 public:
  // `choice`: which of the request's n sequences. `num_prompt_tokens`: tokens before are prompt, later ones output.
  SamplingState(const SamplingParams& params, int32_t choice, int32_t num_prompt_tokens, int32_t vocab_size);
  ~SamplingState();
  SamplingState(SamplingState&&) noexcept;
  SamplingState& operator=(SamplingState&&) noexcept;

  const SamplingParams& params() const;
  // Tells the token at `position` (prompt or output), in order. A position that was told before changes nothing, so that
  // a step may be repeated.
  void AddToken(int64_t position, int32_t token_id);

 private:
  friend class Sampler;
  struct State;
  std::unique_ptr<State> state_;
};

// logits -> token. Order of the handlers: repetition penalty (prompt and output), frequency, presence (output), temperature,
// top-k, top-p, min-p, draw. The draw at a position is a function of (seed, choice, position) alone: neither layout,
// company nor chunking change it. One thread.
class Sampler {
 public:
  // `vocab_size`: tokens that may be sampled (padding rows of the model's vocabulary beyond it never are).
  Sampler(const KernelTable* kernels, int32_t vocab_size);
  ~Sampler();

  // Chooses the token of `position`. `logits` [model vocabulary] may be overwritten. `logprobs` is filled if
  // params.num_logprobs >= 0: from the logits after penalties, before temperature, as natural logarithms.
  int32_t Sample(std::span<float> logits, const SamplingState& state, int64_t position,
                 TokenLogprobs* logprobs);
  // Log-probabilities of a given token and the `num_top` best, from raw logits.
  TokenLogprobs Logprobs(std::span<const float> logits, int32_t token_id, int32_t num_top);

 private:
  struct Scratch;
  std::unique_ptr<Scratch> scratch_;
};

}  // namespace phalanx
