#include "parallel/comm/transport_table.h"

#include "base/check.h"
#include "parallel/comm/single/single_communicator.h"

namespace phalanx {
namespace {

size_t NoBytes(int) {
  return 0;
}
void NothingToInit(std::span<std::byte>, int) {}
Result<std::unique_ptr<Communicator>> JoinSingle(std::span<std::byte>, int group_rank,
                                                 const ExchangeOptions&) {
  CHECK(group_rank == 0);
  return std::unique_ptr<Communicator>(std::make_unique<SingleCommunicator>());
}

size_t ShmBytes(int size) {
  return ExchangeBytes(size);
}
void InitShm(std::span<std::byte> memory, int size) {
  InitExchange(memory, size);
}
Result<std::unique_ptr<Communicator>> JoinShm(std::span<std::byte> memory, int group_rank,
                                              const ExchangeOptions& options) {
  ASSIGN_OR_RETURN(auto communicator, ShmCommunicator::Attach(memory, group_rank, options));
  return std::unique_ptr<Communicator>(std::move(communicator));
}

constexpr Transport kTransports[] = {
    {"single", 1, NoBytes, NothingToInit, JoinSingle},
    {"shm", 1 << 10, ShmBytes, InitShm, JoinShm},
};

}  // namespace

std::span<const Transport> Transports() {
  return kTransports;
}

const Transport& TransportFor(int size) {
  for (const Transport& transport : kTransports) {
    if (size <= transport.max_size) return transport;
  }
  CHECK(false && "no transport holds so many ranks");
  __builtin_unreachable();
}

}  // namespace phalanx
