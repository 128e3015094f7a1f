#pragma once

#include <chrono>
#include <cstdint>
#include <span>

#include "base/status.h"

namespace phalanx {

// Exchange between the ranks of one group. Every rank of the group calls the same operations in the same
// order with matching sizes; debug builds compare them and fail with both sides' names. Every wait has a
// deadline: a dead or silent rank gives Unavailable naming it, on all others. One thread per rank calls it.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int size() const = 0;
  virtual int group_rank() const = 0;

  // data[i] = sum over ranks, added as a balanced binary tree over group ranks, ((r0 + r1) + (r2 + r3)) ...,
  // the same bits on every rank, and the same as if one rank had summed the subtrees. Requires: size() is a
  // power of two.
  virtual Status AllReduce(std::span<float> data) = 0;
  // Every rank gives `mine`; out holds all ranks' parts in group order. counts[r] = size of rank r's part.
  virtual Status AllGatherV(std::span<const float> mine, std::span<float> out,
                            std::span<const int64_t> counts) = 0;
  virtual Status Barrier() = 0;
};

}  // namespace phalanx
