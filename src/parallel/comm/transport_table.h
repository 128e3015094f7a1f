#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "parallel/comm/communicator.h"
#include "parallel/comm/shm/shm_communicator.h"

namespace phalanx {

// How the ranks of a group reach each other. A group has memory that its owner (the daemon) makes and
// initialises before any rank joins; a transport that needs none says 0 bytes.
struct Transport {
  std::string_view name;
  int max_size;  // largest group
  size_t (*group_bytes)(int size);
  void (*init_group)(std::span<std::byte> memory, int size);
  Result<std::unique_ptr<Communicator>> (*join)(std::span<std::byte> memory, int group_rank,
                                                const ExchangeOptions& options);
};

// All transports, the most specific first.
std::span<const Transport> Transports();
// The first that can hold a group of `size` ranks on one machine. Requires: size >= 1.
const Transport& TransportFor(int size);

}  // namespace phalanx
