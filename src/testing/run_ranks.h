#pragma once

#include <functional>

#include "parallel/comm/communicator.h"
#include "parallel/comm/shm/shm_communicator.h"

namespace phalanx {

// Runs fn(rank, communicator) on n threads that form one group of local communicators, and returns when all
// have returned. For tests: most parallel code needs no process.
void RunRanks(int n, const std::function<void(int rank, Communicator& communicator)>& fn,
              const ExchangeOptions& options = {});

}  // namespace phalanx
