#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "plan/request.h"
#include "serve/schedule/placement.h"
#include "serve/schedule/request_output.h"

namespace phalanx {

class Executor;

// Live counts, exact at one moment between two steps. Index: attention-dp group.
struct EngineStats {
  using Group = GroupStats;
  std::vector<Group> groups;
  int64_t queued_requests = 0;  // submitted, no sequence running yet
  int64_t running_requests = 0;
};

// Limits of ScheduleConfig, ServerConfig and ModelDeployConfig that the engine keeps.
struct EngineOptions {
  int64_t max_seq_len = 2560;  // prompt + output
  int64_t max_input_tokens = 2048;
  int32_t max_output_tokens = 512;      // maxIterTimes
  int32_t max_batch_size = 200;         // sequences per group and step
  int64_t max_step_tokens = 8192;       // maxPrefillTokens: new tokens per group and step
  int32_t max_prefill_batch_size = 50;  // sequences with prompt chunks per group and step
  int32_t prefill_chunk_tokens = 512;   // bound of one step's prompt tokens while others decode
  int64_t max_queued_requests = 2000;   // 2 * maxLinkNum
  int64_t max_running_requests = 1000;  // maxLinkNum
  std::chrono::seconds token_timeout{600};
  std::chrono::seconds request_timeout{600};
  PlacementPolicy placement = PlacementPolicy::kFirstToken;
};

// The loop: admit, schedule, execute, publish outputs. Owns the Requests; knows token ids only. One thread of
// its own runs it from Start until Stop.
class Engine {
 public:
  // Called on the engine's thread, in order, once per step in which something happened to the request; must
  // not block.
  using OutputCallback = std::function<void(const RequestOutput&)>;

  // `executor` and `clock` (null: the real one) outlive the engine.
  Engine(const EngineOptions& options, Executor* executor, const Clock* clock = nullptr);
  ~Engine();

  void Start();
  // Refuses new requests from now on (Cancelled "the service is stopping"), lets running ones finish until
  // the deadline, then ends the others with Cancelled. Returns when every request has had its final output.
  // Any thread but the engine's own (a callback).
  void Drain(std::chrono::milliseconds deadline);
  // Drain(0) and the end of the thread.
  void Stop();

  // Any thread. `on_output` will be called for it until an output with `finished`, unless Submit itself
  // fails: InvalidArgument (param names the field: prompt longer than the limits, pinned group that does not
  // exist), ResourceExhausted (the queue is full), Cancelled (stopping), Unavailable (the ranks are gone, or
  // not started).
  Result<RequestId> Submit(Request request, OutputCallback on_output);
  // Any thread. The client went away: the request's blocks are free before the next step; no further output
  // comes except one final one with kAbort. Unknown ids are ignored.
  void Abort(RequestId request_id);
  // Any thread. One choice has met a stop string: it ends with no further output for it; when all choices
  // have ended the final output comes.
  void FinishSequence(RequestId request_id, int32_t index);

  // Any thread; a copy made between two steps.
  EngineStats Stats() const;
  // Any thread. Ok, or why requests cannot be answered (a rank is dead: which and how; stopping).
  Status Health() const;

  // As given, with max_seq_len and max_input_tokens bounded by what the model has.
  const EngineOptions& options() const;

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace phalanx
