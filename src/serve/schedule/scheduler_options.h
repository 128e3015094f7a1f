#pragma once

#include <cstdint>

#include "base/status.h"
#include "plan/request.h"
#include "serve/schedule/placement.h"

namespace phalanx {

// What the Scheduler keeps to: the shape of the ranks and the pool, and the limits of ScheduleConfig.
struct SchedulerOptions {
  int32_t num_groups = 1;  // attention-dp groups
  int32_t num_domains =
      1;  // lockstep domains; divides num_groups; domain d has groups d * k ... d * k + k - 1
  int32_t max_in_flight = 2;     // steps under way in one domain at once
  int32_t block_size = 128;      // tokens per cache block
  int64_t num_blocks = 0;        // of the pool
  int64_t blocks_per_group = 0;  // a group's share; all shares together fit the pool

  int64_t max_seq_len = 2560;           // prompt + output, per sequence
  int32_t max_output_tokens = 512;      // output, per sequence
  int32_t max_batch_size = 200;         // sequences per group that hold blocks
  int64_t max_step_tokens = 8192;       // new tokens per group and step
  int32_t max_prefill_batch_size = 50;  // sequences with prompt chunks per group and step
  int32_t prefill_chunk_tokens = 512;   // bound of one step's prompt tokens while others of the domain decode
  int64_t max_running_requests = 1000;  // requests with a sequence that holds blocks
  PlacementPolicy placement = PlacementPolicy::kFirstToken;

  int32_t groups_per_domain() const { return num_groups / num_domains; }
};

// New tokens that each sequence of `request` may get at most: the smallest of its own limit,
// max_output_tokens, and what max_seq_len leaves.
int64_t MaxNewTokens(const Request& request, const SchedulerOptions& options);

// InvalidArgument, param naming the field: an empty prompt, n or max_tokens out of range, a pinned group that
// does not exist, or a sequence that could never fit a group's share of the cache blocks.
Status ValidateRequest(const Request& request, const SchedulerOptions& options);

}  // namespace phalanx
