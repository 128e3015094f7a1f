#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "compute/kernels/kernel_table.h"

namespace phalanx {

struct Candidate {
  float value;
  int32_t token_id;
};
// The order of tokens everywhere in sampling: larger values first, the lower id first among equals.
inline bool RanksBefore(const Candidate& a, const Candidate& b) {
  return a.value != b.value ? a.value > b.value : a.token_id < b.token_id;
}

// The best tokens of a row of the vocabulary without sorting it: the largest value of each block of 128 tokens says
// which few blocks are worth a look. One per thread; keeps its memory between rows.
class RankedRow {
 public:
  explicit RankedRow(const KernelTable* kernels) : kernels_(kernels) {}

  // Reads the row once. `values` must stay unchanged until the next Reset.
  void Reset(std::span<const float> values);

  Candidate best() const { return best_; }
  // Sum of Exp(value - best) over the row: fp32 per block, doubles over blocks in order.
  double SumExp();
  // The token where that sum, taken block by block and token by token in order of ids, first exceeds `target`; the last
  // token that adds to it if none does.
  int32_t TokenAtSum(double target);

  // The `k` best tokens, in order. Requires: k >= 1; fewer if the row is shorter.
  const std::vector<Candidate>& Top(int64_t k);
  // All tokens with value >= threshold, in order of ids.
  std::vector<Candidate>& AtLeast(float threshold);

 private:
  std::span<const float> Block(size_t block) const;

  const KernelTable* kernels_;
  std::span<const float> values_;
  Candidate best_ = {};
  std::vector<float> block_max_;
  std::vector<float> block_sum_;  // empty until SumExp
  std::vector<float> scratch_;
  std::vector<Candidate> candidates_;
};

}  // namespace phalanx
