#include "testing/run_ranks.h"

#include <thread>
#include <vector>

#include "parallel/comm/local/local_group.h"

namespace phalanx {

void RunRanks(int n, const std::function<void(int rank, Communicator& communicator)>& fn,
              const ExchangeOptions& options) {
  auto group = MakeLocalGroup(n, options);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < n; ++rank) {
    threads.emplace_back([&, rank] { fn(rank, *group[static_cast<size_t>(rank)]); });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace phalanx
