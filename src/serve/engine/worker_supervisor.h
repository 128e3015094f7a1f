#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/shared_memory.h"
#include "base/topology.h"
#include "plan/step_channel.h"
#include "serve/engine/executor.h"
#include "serve/engine/start_report.h"
#include "serve/engine/worker_process.h"

namespace phalanx {

struct LoadProgress {
  int tasks_done = 0;  // of packing the weights, all ranks together
  int num_tasks = 0;
};

// What to start. Ranks of an attention-dp group are consecutive: rank = group * tp + group_rank.
struct ProcessExecutorOptions {
  std::string worker_program;  // empty: phalanx-worker beside this program
  std::string model_path;      // as ResolveModelPath gives it
  int32_t dp = 1;
  int32_t tp = 1;
  std::string kernel_table;        // empty: the best
  std::string kv_format = "auto";  // "auto" (by the model), "f32", "f16"
  int32_t block_size = 128;
  int64_t kv_bytes_per_rank = -1;  // -1: what the machine's memory allows
  double memory_fraction = 0.8;    // with -1: of the available memory, for weights, keys and values
  int64_t max_batch_size = 200;    // sequences per group and ...
  int64_t max_seq_len = 2560;      // ... tokens of each: more is never reserved
  int threads_per_rank = 0;        // 0: cores / ranks
  std::string log_level = "info";  // of the workers
  std::chrono::seconds start_timeout{1800};
  std::chrono::milliseconds step_timeout{300'000};  // a step that takes longer is taken as hung
  std::chrono::milliseconds shutdown_timeout{5000};
  // Called on another thread while Start waits.
  std::function<void(const LoadProgress&)> progress;
  std::function<bool()> cancelled;  // asked several times a second; true ends the start with Cancelled
};

// Why a domain takes no more steps.
struct DomainFailure {
  Status status;
  int rank = -1;
};

// Starts the workers and watches them. One thread of its own spawns them (they die with it), goes through the
// start-up talk, notices deaths, and ends them. The step channel belongs to the thread that submits steps;
// Failure, FailDomain, health are for any thread.
class WorkerSupervisor {
 public:
  static Result<std::unique_ptr<WorkerSupervisor>> Start(const ProcessExecutorOptions& options);
  ~WorkerSupervisor();

  const ProcessExecutorOptions& options() const { return options_; }
  const ExecutorFacts& facts() const { return facts_; }
  const StartReport& report() const { return report_; }
  StepChannelHost& channel() { return *channel_; }
  // "rank 3 (process 4711)".
  std::string RankName(int rank) const;

  std::optional<DomainFailure> Failure(int domain) const;
  // Fences the domain, if it has not failed already. Returns its first failure.
  DomainFailure FailDomain(int domain, DomainFailure failure);
  Status health() const;
  void Shutdown();

 private:
  explicit WorkerSupervisor(const ProcessExecutorOptions& options);

  // On the supervisor's thread.
  void Main(std::promise<Status>* started);
  Status StartWorkers();
  Status SpawnAll();
  // Until every worker has reached `stage`.
  Status WaitForAll(MessageKind stage);
  Status CheckFacts() const;
  Status SizeCache();
  Status SendMemory();
  void MakeReport();
  void ReportProgress() const;
  void Watch();
  void NoticeDeaths();
  void TellFences();
  void EndAll();

  int DomainOf(int rank) const { return rank / options_.tp; }

  const ProcessExecutorOptions options_;
  SteadyTime start_deadline_;
  MachineTopology machine_;
  std::vector<RankPlacement> placements_;
  std::vector<int> nodes_;  // NUMA nodes with ranks; one copy of the weights each
  std::optional<StepChannelHost> channel_;
  std::vector<WorkerProcess> workers_;  // by rank; supervisor's thread only
  std::vector<std::string> names_;      // of the ranks
  ExecutorFacts facts_;
  StartReport report_;

  mutable std::mutex mutex_;
  std::vector<std::optional<DomainFailure>> failures_;  // by domain
  Status first_failure_;
  std::vector<int> untold_fences_;  // domains that failed and whose workers have not been told

  UniqueFd event_;       // wakes Watch
  bool ending_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace phalanx
