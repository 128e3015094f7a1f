#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/topology.h"
#include "plan/step_channel.h"
#include "serve/engine/executor.h"
#include "serve/engine/worker_supervisor.h"

namespace phalanx {

// Runs the ranks as processes of this machine. Owns every piece of memory that they share, and the processes:
// none outlives it.
class ProcessExecutor final : public Executor {
 public:
  // Starts the workers, has the weights packed, and returns when every rank waits for plans. Errors: what a
  // worker said (its own code, with rank and process), Unavailable for one that died (with how),
  // DeadlineExceeded after start_timeout, Cancelled if options.cancelled said so, ResourceExhausted if the
  // key/value pool would not hold one sequence of max_seq_len.
  static Result<std::unique_ptr<ProcessExecutor>> Start(const ProcessExecutorOptions& options);
  // Calls Shutdown.
  ~ProcessExecutor() override;

  const ExecutorFacts& facts() const override { return supervisor_->facts(); }
  Status Submit(const StepPlan& plan) override;
  std::vector<StepResult> Collect() override;
  void WaitForWork(std::chrono::milliseconds timeout) override;
  void Wake() override;

  // Ok, or why a domain is lost, the first one. Any thread.
  Status health() const { return supervisor_->health(); }
  // What was started, for the log and the plan's printout.
  const StartReport& report() const { return supervisor_->report(); }
  // Ends the workers: asks, waits for options.shutdown_timeout, kills, reaps. Steps under way are lost.
  // Idempotent.
  void Shutdown();

 private:
  struct InFlight {
    StepId step_id = 0;
    SteadyTime submitted;
  };
  struct Domain {
    std::deque<InFlight> steps;
    SteadyTime last_collected;
  };

  explicit ProcessExecutor(std::unique_ptr<WorkerSupervisor> supervisor);
  void CollectDomain(int32_t domain, std::vector<StepResult>* results);
  // When the domain's oldest step becomes too old; SteadyTime::max() if none is under way.
  SteadyTime StepDeadline(const Domain& domain) const;
  void CheckDeadline(int32_t domain);

  std::unique_ptr<WorkerSupervisor> supervisor_;
  std::vector<Domain> domains_;
};

}  // namespace phalanx
