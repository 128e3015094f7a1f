#pragma once

#include <atomic>
#include <list>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "serve/engine/engine.h"
#include "serve/engine/executor.h"
#include "serve/engine/request_queue.h"
#include "serve/schedule/scheduler.h"

namespace phalanx {

// The Engine's inside. Public functions: any thread. Private ones and what they touch: the loop's thread
// only, except where a member says otherwise.
//
// One round: results become outputs; then what others asked for; then deadlines; then a plan for every domain
// that has room for one; then sleep until a result, a command or a deadline comes. Commands are looked at
// between the results of two steps as well, so that a callback that ends a sequence is obeyed before the next
// step's output.
class Engine::Loop {
 public:
  Loop(const EngineOptions& options, Executor* executor, const Clock* clock);

  void Start();
  void Drain(std::chrono::milliseconds deadline);
  void Stop();
  Result<RequestId> Submit(Request request, OutputCallback on_output);
  void Command(EngineCommand::Kind kind, RequestId request_id, int32_t index);
  EngineStats Stats() const;
  Status Health() const;
  const EngineOptions& options() const { return options_; }

 private:
  // A request between admission and final output. Both lists are in order of time, so that the next deadline
  // of each kind is at the front.
  struct Live {
    OutputCallback on_output;
    SteadyTime submitted, last_output;
    std::list<RequestId>::iterator by_submission, by_last_output;
  };

  void Run();
  void HandleResult(StepResult result);
  void TakeCommands();
  void Admit(EngineCommand command);
  void ExpireDeadlines();
  void CancelAll();
  void ScheduleAll();
  void EndRequest(RequestId request_id, Status reason);
  void FailDomain(int32_t domain, const Status& cause, int32_t failed_rank);
  void Publish(const RequestOutput& output);
  void PublishStats();
  std::chrono::milliseconds TimeToNextDeadline() const;

  const EngineOptions options_;
  Executor* const executor_;
  const RealClock real_clock_;
  const Clock* const clock_;
  Scheduler scheduler_;
  RequestQueue queue_;  // any thread

  std::unordered_map<RequestId, Live> live_;
  std::list<RequestId> by_submission_, by_last_output_;
  std::vector<EngineCommand> commands_;
  std::vector<bool> failed_;  // by domain
  SteadyTime now_;            // of this round

  std::atomic<bool> cancel_all_{false}, stop_{false};
  mutable std::mutex stats_mutex_;
  EngineStats stats_;  // under stats_mutex_
  Status health_;      // of the ranks; under stats_mutex_
  std::mutex thread_mutex_;
  std::thread thread_;  // under thread_mutex_
};

}  // namespace phalanx
