#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/status.h"
#include "plan/request.h"

namespace phalanx {

class Executor;

// New tokens of one choice since the last output.
struct SequenceOutput {
  int32_t index = 0;                    // choice
  std::vector<int32_t> token_ids;
  std::vector<TokenLogprobs> logprobs;  // one per token if asked for, else empty
  std::optional<FinishReason> finish_reason;
};

// What happened to a request in one step. Exactly one output of each request has `finished`, whatever fails.
struct RequestOutput {
  RequestId request_id = 0;
  Status status;                        // an error is always the last output
  std::vector<SequenceOutput> sequences;
  std::vector<TokenLogprobs> prompt_logprobs;  // of prompt tokens 1 ...; as they are computed, choice 0 only
  int32_t data_parallel_rank = -1;      // the group that computes it
  int32_t num_cached_tokens = 0;
  bool finished = false;
};

// Live counts, exact at one moment between two steps. Index: attention-dp group.
struct EngineStats {
  struct Group {
    int64_t running = 0, waiting = 0;   // sequences
    int64_t used_blocks = 0, total_blocks = 0;
    int64_t prompt_tokens = 0, generation_tokens = 0, preemptions = 0, steps = 0;  // since start
    double busy_seconds = 0;            // time in steps since start
  };
  std::vector<Group> groups;
  int64_t queued_requests = 0;          // submitted, no sequence running yet
  int64_t running_requests = 0;
};

// Limits of ScheduleConfig, ServerConfig and ModelDeployConfig that the engine keeps.
struct EngineOptions {
  int64_t max_seq_len = 2560;           // prompt + output
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
};

// The loop: admit, schedule, execute, publish outputs. Owns the Requests; knows token ids only. One thread of its own
// runs it from Start until Stop.
class Engine {
 public:
  // Called on the engine's thread, in order, once per step in which something happened to the request; must not block.
  using OutputCallback = std::function<void(const RequestOutput&)>;

  // `executor` outlives the engine.
  Engine(const EngineOptions& options, Executor* executor);
  ~Engine();

  void Start();
  // Refuses new requests from now on (Cancelled "the service is stopping"), lets running ones finish until the
  // deadline, then ends the others with Cancelled. Returns when every request has had its final output. Any thread.
  void Drain(std::chrono::milliseconds deadline);
  // Drain(0) and the end of the thread.
  void Stop();

  // Any thread. `on_output` will be called for it until an output with `finished`, unless Submit itself fails:
  // InvalidArgument (param names the field: prompt longer than the limits, pinned group that does not exist),
  // ResourceExhausted (the queue is full), Cancelled (stopping), Unavailable (the ranks are gone).
  Result<RequestId> Submit(Request request, OutputCallback on_output);
  // Any thread. The client went away: the request's blocks are free before the next step; no further output comes
  // except one final one with kAbort. Unknown ids are ignored.
  void Abort(RequestId request_id);
  // Any thread. One choice has met a stop string: it ends with no further output for it; when all choices have
  // ended the final output comes.
  void FinishSequence(RequestId request_id, int32_t index);

  // Any thread; a copy made between two steps.
  EngineStats Stats() const;
  // Any thread. Ok, or why requests cannot be answered (a rank is dead: which and how; stopping).
  Status Health() const;

  const EngineOptions& options() const;

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace phalanx
