#pragma once

#include <cstddef>
#include <functional>

#include "base/status.h"
#include "base/thread_team.h"
#include "compute/weights/weight_store.h"

namespace phalanx {

// A worker's share of the packing tasks: those with number % count == index. Over all indices each task is
// done once.
struct PackShare {
  int index = 0;
  int count = 1;

  int NumTasks(int num_tasks) const {
    return num_tasks > index ? (num_tasks - index + count - 1) / count : 0;
  }
};

// Runs the share's tasks into `segment` (packed_bytes of the store) on all threads of the team. `progress` is
// told the number of finished tasks now and then, on the calling thread. Returns the first error.
Status PackWeights(const WeightStore& store, const PackShare& share, std::byte* segment, ThreadTeam* threads,
                   const std::function<void(int tasks_done)>& progress);

}  // namespace phalanx
