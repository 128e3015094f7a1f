#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#include "base/status.h"
#include "plan/request.h"
#include "serve/engine/engine.h"

namespace phalanx {

// What other threads ask of the engine's loop.
struct EngineCommand {
  enum class Kind : uint8_t { kSubmit, kAbort, kFinishSequence };

  Kind kind = Kind::kSubmit;
  RequestId request_id = 0;
  int32_t index = 0;                 // kFinishSequence
  Request request;                   // kSubmit
  Engine::OutputCallback on_output;  // kSubmit
};

// The door between the threads that ask and the loop that answers: commands in order, and everything that has
// to be known to refuse a request at once. Any thread; no callback is called under its lock.
//
// Its count of live requests goes up with each admission and down after each final output; Close and
// WaitUntilIdle give Drain its meaning.
class RequestQueue {
 public:
  // A request of the loop's view: counts after its last look at the commands.
  struct Occupancy {
    int64_t queued = 0, running = 0;
  };

  RequestQueue(int64_t max_queued, int64_t max_running)
      : max_queued_(max_queued), max_running_(max_running) {}

  // Admits a request and gives its id. Errors: the state's (SetState), ResourceExhausted: as many requests
  // wait as may. A request that the loop has not seen yet counts as waiting only as far as no place among the
  // running is free.
  Result<RequestId> Submit(Request request, Engine::OutputCallback on_output);
  void Push(EngineCommand command);

  // The loop's side.
  void Take(std::vector<EngineCommand>* commands);  // replaces what is there
  void SetOccupancy(Occupancy occupancy);
  void RequestEnded();

  // Whether requests are admitted; an error is what Submit says. Closing is for ever.
  void SetState(Status state);
  Status state() const;
  void Close(Status reason);

  // False: the deadline passed while requests were alive.
  bool WaitUntilIdle(std::chrono::milliseconds deadline);
  int64_t num_unseen() const;

 private:
  const int64_t max_queued_, max_running_;
  mutable std::mutex mutex_;
  std::condition_variable idle_;
  std::vector<EngineCommand> commands_;
  Status state_ = Unavailable("the engine has not started");
  bool closed_ = false;
  RequestId next_id_ = 1;
  int64_t num_live_ = 0;
  int64_t num_unseen_ = 0;  // submits among the commands
  Occupancy occupancy_;
};

}  // namespace phalanx
