#pragma once

#include <atomic>
#include <chrono>

#include "base/clock.h"

namespace phalanx {

// A clock that stands still until a test moves it. Any thread.
class FakeClock final : public Clock {
 public:
  SteadyTime Now() const override { return SteadyTime(std::chrono::nanoseconds(nanoseconds_.load())); }
  void Advance(std::chrono::nanoseconds time) { nanoseconds_.fetch_add(time.count()); }

 private:
  std::atomic<int64_t> nanoseconds_{1'000'000'000};
};

}  // namespace phalanx
