#pragma once

#include <cstdint>

#include "base/status.h"

namespace phalanx {

// What bounds the pool of keys and values. Ranks share one machine.
struct CacheCapacityInput {
  int64_t block_bytes = 0;         // of one block in one rank's plane; > 0
  int32_t block_size = 128;        // tokens per block
  int32_t num_ranks = 1;           // dp * tp
  int32_t dp = 1;                  // groups; each has its share of the blocks
  int64_t kv_bytes_per_rank = -1;  // npuMemSize; -1: what the memory allows
  int64_t available_bytes = 0;     // of the machine, before the weights are loaded
  double memory_fraction = 0.8;    // with -1: of the available memory, for weights, keys and values
  int64_t weight_bytes = 0;        // all copies together
  int64_t max_batch_size = 200;    // sequences per group and ...
  int64_t max_seq_len = 2560;      // ... tokens of each (the model's context at most): more is never reserved
};

struct CacheCapacity {
  int64_t blocks_per_group = 0;
  bool exceeds_memory = false;  // kv_bytes_per_rank asks for more than there is now
};

// ResourceExhausted if not even one sequence of max_seq_len would fit; the message names what to change.
Result<CacheCapacity> ComputeCacheCapacity(const CacheCapacityInput& input);

}  // namespace phalanx
