#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "base/clock.h"

namespace phalanx {

// How long a waiter stays awake before it sleeps. Spinning alone costs milliseconds per hand-over once there
// are more threads than cores; yielding costs microseconds; sleeping costs a wake-up but no processor.
struct WaitPolicy {
  int spins = 100;  // polls with a pause between them
  std::chrono::microseconds yields{
      50};  // then polls with sched_yield between them, for so long; then the futex
};

// A 32-bit word to wait on, across threads or (in shared memory) across processes. All zero bytes are a valid
// word of value 0, so fresh shared memory needs no construction. A waiter that is killed costs the others
// nothing but a system call per wake.
class WaitWord {
 public:
  uint32_t Load() const { return value_.load(std::memory_order_acquire); }

  // Stores or adds and wakes all who wait. What was written before is visible to them.
  void Store(uint32_t value);
  uint32_t Add(uint32_t delta);  // returns the new value
  // Stores `value` and wakes if the word is `expected`; says whether it was.
  bool StoreIf(uint32_t expected, uint32_t value);

  // Returns the value as soon as it differs from `seen`; `seen` itself if the deadline passed first.
  uint32_t WaitWhile(uint32_t seen, SteadyTime deadline = SteadyTime::max(),
                     const WaitPolicy& policy = {}) const;

 private:
  void WakeAll() const;

  std::atomic<uint32_t> value_{0};
  mutable std::atomic<uint32_t> sleepers_{0};
};

// Tells the processor that this is a spin loop.
inline void CpuPause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

}  // namespace phalanx
