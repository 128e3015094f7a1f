#include "compute/worker/weight_packing.h"

#include <atomic>
#include <chrono>
#include <mutex>

#include "base/clock.h"

namespace phalanx {

Status PackWeights(const WeightStore& store, const PackShare& share, std::byte* segment, ThreadTeam* threads,
                   const std::function<void(int tasks_done)>& progress) {
  constexpr std::chrono::milliseconds kProgressInterval{100};
  const int num_tasks = share.NumTasks(store.num_tasks());
  std::atomic<int> next{0};
  std::atomic<int> done{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  Status first_error;  // guarded by mutex
  threads->Run([&](int thread) {
    SteadyTime next_report = std::chrono::steady_clock::now() + kProgressInterval;
    for (int task = next++; task < num_tasks && !failed; task = next++) {
      if (Status status = store.RunTask(share.index + task * share.count, segment); !status.ok()) {
        const std::lock_guard lock(mutex);
        if (!failed.exchange(true)) first_error = std::move(status);
        return;
      }
      ++done;
      const SteadyTime now = std::chrono::steady_clock::now();
      if (thread == 0 && now >= next_report) {
        progress(done);
        next_report = now + kProgressInterval;
      }
    }
  });
  return first_error;
}

}  // namespace phalanx
