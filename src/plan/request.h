#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace phalanx {

using RequestId = uint64_t;
using SequenceId = uint64_t;

// How one token is chosen. Everything that a client may say about it, with its "off" value as the default.
struct SamplingParams {
  float temperature = 1.0f;         // 0: greedy, whatever else is given
  int32_t top_k = 0;                // 0: off
  float top_p = 1.0f;               // 1: off
  float min_p = 0.0f;               // 0: off
  float repetition_penalty = 1.0f;  // over prompt and output tokens; > 0
  float presence_penalty = 0.0f;    // over output tokens
  float frequency_penalty = 0.0f;   // over output tokens
  uint64_t seed = 0;                // always set; drawn by the endpoint where the client gave none
  int32_t num_logprobs =
      -1;  // -1: none; else the sampled token's log-probability and so many best ones (0...20)
  int32_t num_prompt_logprobs = -1;  // the same for every prompt token after the first
  // A sequence ends after one of these was sampled (the token is part of the output): the model's end tokens unless
  // ignore_eos, and the client's stop_token_ids.
  std::vector<int32_t> stop_token_ids = {};
};

// What one client asked, as token ids. Never changes after admission.
struct Request {
  RequestId id = 0;                       // given by the Engine
  std::vector<int32_t> prompt_token_ids;  // at least one
  SamplingParams sampling;
  int32_t max_tokens = 1;                     // new tokens per sequence; 0 only with num_prompt_logprobs >= 0
  int32_t n = 1;                              // sequences (choices)
  std::optional<int32_t> data_parallel_rank;  // pinned group
};

enum class FinishReason : uint8_t { kStop, kLength, kAbort, kError };

// Log-probability of one chosen token and of the best alternatives, best first.
struct TokenLogprobs {
  struct Entry {
    int32_t token_id = 0;
    float logprob = 0;
  };
  int32_t token_id = 0;
  float logprob = 0;
  std::vector<Entry> top;
};

}  // namespace phalanx
