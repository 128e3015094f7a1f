#pragma once

#include <memory>
#include <vector>

#include "parallel/comm/communicator.h"
#include "parallel/comm/shm/shm_communicator.h"

namespace phalanx {

// The communicators of `size` ranks that are threads of this process, in group order. Each is handed to its
// thread; the exchange lies on the heap and lives as long as any of them.
std::vector<std::unique_ptr<Communicator>> MakeLocalGroup(int size, const ExchangeOptions& options = {},
                                                          int64_t piece_floats = kExchangePieceFloats);

}  // namespace phalanx
