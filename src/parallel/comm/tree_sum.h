#pragma once

#include <algorithm>
#include <cstdint>

namespace phalanx {

// out[i - begin] = balanced binary tree sum over parts of part_of(part)[i], i in [begin, end): ((p0 + p1) +
// (p2 + p3)) ... The same bits for every split of [0, n) into ranges. Requires: num_parts is a power of two.
template <class PartOf>
void TreeSum(PartOf&& part_of, int num_parts, int64_t begin, int64_t end, float* out);

namespace tree_sum_internal {

// Floats that stay in the nearest cache while the levels of the tree pass over them.
inline constexpr int64_t kBlock = 512;

template <class PartOf>
void SumBlock(PartOf& part_of, int first, int num_parts, int64_t begin, int64_t n, float* __restrict out) {
  if (num_parts == 1) {
    std::copy_n(part_of(first) + begin, n, out);
    return;
  }
  if (num_parts == 2) {
    const float* a = part_of(first) + begin;
    const float* b = part_of(first + 1) + begin;
    for (int64_t i = 0; i < n; ++i) out[i] = a[i] + b[i];
    return;
  }
  float right[kBlock];
  SumBlock(part_of, first, num_parts / 2, begin, n, out);
  SumBlock(part_of, first + num_parts / 2, num_parts / 2, begin, n, right);
  for (int64_t i = 0; i < n; ++i) out[i] += right[i];
}

}  // namespace tree_sum_internal

template <class PartOf>
void TreeSum(PartOf&& part_of, int num_parts, int64_t begin, int64_t end, float* out) {
  for (int64_t at = begin; at < end; at += tree_sum_internal::kBlock) {
    int64_t n = std::min(tree_sum_internal::kBlock, end - at);
    tree_sum_internal::SumBlock(part_of, 0, num_parts, at, n, out + (at - begin));
  }
}

}  // namespace phalanx
