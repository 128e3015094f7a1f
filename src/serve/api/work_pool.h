#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace phalanx {

// A few threads for work that would hold up a connections' thread: parsing and encoding long requests. Tasks start in
// order. Thread-safe.
class WorkPool {
 public:
  explicit WorkPool(int num_threads);
  // Finishes what runs; what waits is destroyed.
  ~WorkPool();

  void Run(std::function<void()> task);

 private:
  void Loop();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace phalanx
