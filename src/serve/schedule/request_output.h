#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/status.h"
#include "plan/request.h"

namespace phalanx {

// New tokens of one choice since the last output.
struct SequenceOutput {
  int32_t index = 0;  // choice
  std::vector<int32_t> token_ids;
  std::vector<TokenLogprobs> logprobs;  // one per token if asked for, else empty
  std::optional<FinishReason> finish_reason;
};

// What happened to a request in one step. Exactly one output of each request has `finished`, whatever fails.
struct RequestOutput {
  RequestId request_id = 0;
  Status status;  // an error is always the last output
  std::vector<SequenceOutput> sequences;
  std::vector<TokenLogprobs> prompt_logprobs;  // of prompt tokens 1 ...; as they are computed, choice 0 only
  int32_t data_parallel_rank = -1;             // the group that computes it
  int32_t num_cached_tokens = 0;
  bool finished = false;
};

// Live counts of one attention-dp group, and its sums since start.
struct GroupStats {
  int64_t running = 0;  // sequences that hold blocks
  int64_t waiting = 0;  // sequences that only this group may take: pinned, preempted, choices of its requests
  int64_t used_blocks = 0, total_blocks = 0;
  int64_t prompt_tokens = 0, generation_tokens = 0, preemptions = 0, steps = 0;  // since start
  double busy_seconds = 0;                                                       // time in steps since start
};

}  // namespace phalanx
