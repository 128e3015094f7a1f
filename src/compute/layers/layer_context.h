#pragma once

#include "base/thread_team.h"
#include "compute/kernels/kernel_table.h"
#include "parallel/comm/communicator.h"
#include "tensor/scratch_buffer.h"

namespace phalanx {

// What every layer of a model on one rank works with. The pointers outlive the layers. One thread drives it.
struct LayerContext {
  const KernelTable* kernels = nullptr;
  ThreadTeam* threads = nullptr;
  Communicator* tp = nullptr;  // never null

  int tp_size() const { return tp->size(); }
  int tp_rank() const { return tp->group_rank(); }

  // Calls fn(begin, end) for ranges that cover [0, rows): on this thread alone if rows * cost is small (fork and join cost
  // a few microseconds), else on all of them. `cost`: floats touched per row. fn must not depend on the split.
  template <class Fn>
  void ForRows(int64_t rows, int64_t cost, Fn&& fn) const {
    constexpr int64_t kWorthForking = 16384;
    if (rows * cost < kWorthForking || rows == 1 || threads->size() == 1) {
      if (rows > 0) fn(int64_t{0}, rows);
      return;
    }
    threads->ParallelFor(static_cast<long>(rows), 1,
                         [&fn](long begin, long end, int) { fn(int64_t{begin}, int64_t{end}); });
  }
};

}  // namespace phalanx
