#include "base/thread_team.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "base/check.h"
#include "base/wait.h"

namespace phalanx {

// One word starts a round for all threads, another counts those that are still at it. The caller writes `fn`
// before the first and reads nothing after the second, so neither needs a lock.
struct ThreadTeam::State {
  alignas(64) WaitWord round;
  const FunctionRef<void(int)>* fn = nullptr;  // null: end
  alignas(64) std::atomic<uint32_t> running{0};
  alignas(64) WaitWord finished;  // rounds that all helpers have finished
  std::vector<std::thread> helpers;
};

namespace {

void PinThisThread(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  // A failure (the CPU went offline) leaves the thread where it may run; the placement report shows it.
  ::pthread_setaffinity_np(::pthread_self(), sizeof(set), &set);
}

// Inside a step the next round comes within microseconds; between steps the threads sleep.
constexpr WaitPolicy kHelperWait{200, std::chrono::microseconds(100)};
constexpr WaitPolicy kCallerWait{500, std::chrono::microseconds(200)};

}  // namespace

ThreadTeam::ThreadTeam(const std::vector<int>& cpus) : state_(std::make_unique<State>()) {
  CHECK(!cpus.empty());
  for (size_t i = 1; i < cpus.size(); ++i) {
    state_->helpers.emplace_back([state = state_.get(), thread = static_cast<int>(i), cpu = cpus[i]] {
      PinThisThread(cpu);
      uint32_t round = 0;
      while (true) {
        const uint32_t next = state->round.WaitWhile(round, SteadyTime::max(), kHelperWait);
        if (state->fn == nullptr) return;
        round = next;
        (*state->fn)(thread);
        if (state->running.fetch_sub(1, std::memory_order_acq_rel) == 1) state->finished.Store(round);
      }
    });
  }
  PinThisThread(cpus[0]);
}

ThreadTeam::~ThreadTeam() {
  state_->fn = nullptr;
  state_->round.Add(1);
  for (std::thread& helper : state_->helpers) helper.join();
}

int ThreadTeam::size() const {
  return static_cast<int>(state_->helpers.size()) + 1;
}

void ThreadTeam::Run(FunctionRef<void(int thread)> fn) {
  if (state_->helpers.empty()) return fn(0);
  const uint32_t before = state_->round.Load();
  state_->fn = &fn;
  state_->running.store(static_cast<uint32_t>(state_->helpers.size()), std::memory_order_relaxed);
  state_->round.Add(1);
  fn(0);
  state_->finished.WaitWhile(before, SteadyTime::max(), kCallerWait);
}

void ThreadTeam::ParallelFor(long n, long grain, FunctionRef<void(long begin, long end, int thread)> fn) {
  CHECK(grain > 0);
  if (n <= 0) return;
  const long num_grains = (n + grain - 1) / grain;
  const long threads = std::min<long>(size(), num_grains);
  if (threads == 1) return fn(0, n, 0);
  Run([&](int thread) {
    if (thread >= threads) return;
    const long begin = num_grains * thread / threads * grain;
    const long end = std::min(n, num_grains * (thread + 1) / threads * grain);
    if (begin < end) fn(begin, end, thread);
  });
}

}  // namespace phalanx
