#pragma once

#include <cstdint>
#include <vector>

namespace phalanx {

// One sequence's rows in a step: rows first_row ... first_row + num_rows - 1 of the batch are its tokens at positions
// first_position ... The block table covers all of them.
struct ForwardSequence {
  int64_t first_row = 0;
  int32_t num_rows = 0;
  int64_t first_position = 0;
  const int32_t* block_table = nullptr;
  // The most tokens that the sequence can come to have (prompt + max new tokens), the same in all its steps: rope types dynamic and
  // longrope choose their frequencies by it. 0: no more than the model was trained for.
  int64_t reserved_length = 0;
};

// A step flattened into arrays: what a Model computes. Built by the Worker from its Batch; may have no rows.
struct ForwardBatch {
  std::vector<int32_t> token_ids;          // [num_tokens]
  std::vector<ForwardSequence> sequences;  // in order of rows, covering all of them
  std::vector<int64_t> logits_rows;        // rows whose logits are wanted, ascending

  int64_t num_tokens() const { return static_cast<int64_t>(token_ids.size()); }
};

}  // namespace phalanx
