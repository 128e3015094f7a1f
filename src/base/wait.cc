#include "base/wait.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

namespace phalanx {
namespace {

// Futexes without FUTEX_PRIVATE_FLAG: the word may be shared between processes.
long Futex(const std::atomic<uint32_t>* word, int operation, uint32_t value, const timespec* timeout) {
  return ::syscall(SYS_futex, reinterpret_cast<const uint32_t*>(word), operation, value, timeout, nullptr, 0);
}

timespec ToTimespec(std::chrono::nanoseconds duration) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(duration);
  timespec result{};
  result.tv_sec = static_cast<time_t>(seconds.count());
  result.tv_nsec = static_cast<long>((duration - seconds).count());
  return result;
}

}  // namespace

void WaitWord::Store(uint32_t value) {
  value_.store(value, std::memory_order_seq_cst);
  WakeAll();
}

uint32_t WaitWord::Add(uint32_t delta) {
  const uint32_t value = value_.fetch_add(delta, std::memory_order_seq_cst) + delta;
  WakeAll();
  return value;
}

bool WaitWord::StoreIf(uint32_t expected, uint32_t value) {
  if (!value_.compare_exchange_strong(expected, value, std::memory_order_seq_cst)) return false;
  WakeAll();
  return true;
}

// Sequentially consistent on both sides: either the waiter sees the new value before it sleeps, or we see the
// waiter.
void WaitWord::WakeAll() const {
  if (sleepers_.load(std::memory_order_seq_cst) != 0) Futex(&value_, FUTEX_WAKE, INT_MAX, nullptr);
}

uint32_t WaitWord::WaitWhile(uint32_t seen, SteadyTime deadline, const WaitPolicy& policy) const {
  uint32_t value = Load();
  for (int spin = 0; value == seen && spin < policy.spins; ++spin) {
    CpuPause();
    value = Load();
  }
  if (value != seen) return value;

  const SteadyTime start = std::chrono::steady_clock::now();
  const SteadyTime sleep_from = policy.yields.count() > 0 ? start + policy.yields : start;
  SteadyTime now = start;
  while (now < sleep_from && now < deadline) {
    ::sched_yield();
    value = Load();
    if (value != seen) return value;
    now = std::chrono::steady_clock::now();
  }

  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while ((value = value_.load(std::memory_order_seq_cst)) == seen && now < deadline) {
    if (deadline == SteadyTime::max()) {
      Futex(&value_, FUTEX_WAIT, seen, nullptr);
    } else {
      const timespec timeout = ToTimespec(deadline - now);
      Futex(&value_, FUTEX_WAIT, seen, &timeout);
      now = std::chrono::steady_clock::now();
    }
  }
  sleepers_.fetch_sub(1, std::memory_order_seq_cst);
  return value;
}

}  // namespace phalanx
