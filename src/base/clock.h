#pragma once

#include <chrono>

namespace phalanx {

using SteadyTime = std::chrono::steady_clock::time_point;

// The passing of time, so that tests can stand in for it. Any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual SteadyTime Now() const = 0;
};

class RealClock final : public Clock {
 public:
  SteadyTime Now() const override { return std::chrono::steady_clock::now(); }
};

// Seconds from `start` to `end`.
inline double SecondsBetween(SteadyTime start, SteadyTime end) {
  return std::chrono::duration<double>(end - start).count();
}

}  // namespace phalanx
