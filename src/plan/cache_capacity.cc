#include "plan/cache_capacity.h"

#include <algorithm>
#include <limits>
#include <string>

#include "base/check.h"

namespace phalanx {

Result<CacheCapacity> ComputeCacheCapacity(const CacheCapacityInput& input) {
  CHECK(input.block_bytes > 0 && input.block_size > 0 && input.num_ranks > 0 && input.dp > 0);
  const int64_t free_bytes = std::max<int64_t>(0, input.available_bytes - input.weight_bytes);
  CacheCapacity capacity;
  int64_t bytes = input.kv_bytes_per_rank;
  if (bytes < 0) {
    const auto share =
        static_cast<int64_t>(static_cast<double>(input.available_bytes) * input.memory_fraction);
    bytes = std::max<int64_t>(0, share - input.weight_bytes) / input.num_ranks;
  }

  const int64_t longest = std::max<int64_t>(1, input.max_seq_len);
  const int64_t sequence_blocks = (longest - 1) / input.block_size + 1;
  const int64_t max_batch_size = std::max<int64_t>(1, input.max_batch_size);
  // Block ids are 32-bit and number the blocks of all groups.
  const int64_t id_limit = std::numeric_limits<int32_t>::max() / input.dp;
  const int64_t useful =
      sequence_blocks > id_limit / max_batch_size ? id_limit : sequence_blocks * max_batch_size;
  capacity.blocks_per_group = std::min({bytes / input.block_bytes, useful, id_limit});
  if (capacity.blocks_per_group < sequence_blocks) {
    return ResourceExhausted("one sequence of " + std::to_string(longest) + " tokens (maxSeqLen) needs " +
                             std::to_string(sequence_blocks) +
                             " blocks of keys and values per rank, and there is room for " +
                             std::to_string(capacity.blocks_per_group) + " of " +
                             std::to_string(input.block_bytes) + " bytes; lower maxSeqLen or raise " +
                             (input.kv_bytes_per_rank < 0 ? "NPU_MEMORY_FRACTION" : "npuMemSize"));
  }
  capacity.exceeds_memory = capacity.blocks_per_group * input.block_bytes > free_bytes / input.num_ranks;
  return capacity;
}

}  // namespace phalanx
