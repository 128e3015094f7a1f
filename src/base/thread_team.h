#pragma once

#include <memory>
#include <type_traits>
#include <vector>

namespace phalanx {

// A reference to a callable for the length of a call; never owns, never allocates.
template <class Signature>
class FunctionRef;
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  FunctionRef(F&& f)  // NOLINT: implicit on purpose
      : object_(const_cast<void*>(static_cast<const void*>(&f))), call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(args...);
        }) {}
  R operator()(Args... args) const { return call_(object_, args...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

// The threads of one rank: fork and join around a function, with the caller as thread 0. Waiting is a short
// spin, then sched_yield, then futex, so that more threads than cores stay correct and cheap.
class ThreadTeam {
 public:
  // `cpus`: one entry per thread, the logical CPU it is pinned to; -1: not pinned. At least one. The calling
  // thread becomes thread 0 and is pinned too.
  explicit ThreadTeam(const std::vector<int>& cpus);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const;
  // Calls fn(thread) on every thread, 0 ... size - 1, and returns when all have returned. Only from the
  // thread that built the team; not from inside fn.
  void Run(FunctionRef<void(int thread)> fn);
  // Splits [0, n) into `size` nearly equal contiguous ranges of multiples of `grain`, calls fn(begin, end,
  // thread) for the non-empty ones.
  void ParallelFor(long n, long grain, FunctionRef<void(long begin, long end, int thread)> fn);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace phalanx
