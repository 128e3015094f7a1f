#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "base/shared_memory.h"
#include "base/status.h"
#include "base/thread_team.h"
#include "base/unix_socket.h"
#include "compute/cache/kv_cache.h"
#include "compute/kernels/kernel_table.h"
#include "compute/models/model.h"
#include "compute/weights/weight_store.h"
#include "compute/worker/step_runner.h"
#include "parallel/comm/communicator.h"
#include "plan/step_channel.h"
#include "plan/worker_messages.h"

namespace phalanx {

// One rank in one process: its model, cache, threads and sampler over memory that the daemon owns. Everything
// happens on the thread that made it, but for the compute threads and one that hears the daemon.
class Worker {
 public:
  // `control`: the worker's end of its control socket.
  explicit Worker(MessageSocket control);
  ~Worker();

  // Goes through the start-up talk (plan/worker_messages.h) until the worker is ready for plans. An error has
  // been told to the daemon.
  Status Start();
  // Runs plans until the channel is fenced.
  Status Serve();

 private:
  Status ReceiveInit();
  Status OpenModel();
  Status MapMemory();
  Status Pack();
  Status Build();
  Status ReportReady();
  Status StartSteps();
  Result<MessageSocket::Message> Expect(MessageKind kind);
  void RunStep(const StepPlan& plan, StepResult* result);

  MessageSocket control_;
  WorkerInit init_;
  std::unique_ptr<StepChannelRank> channel_;

  const KernelTable* kernels_ = nullptr;
  std::unique_ptr<WeightStore> store_;
  KvCacheShape kv_shape_;
  int32_t vocab_size_ = 0;

  WorkerMemory memory_;
  SharedMapping weights_, plane_, exchange_;
  std::unique_ptr<ThreadTeam> threads_;
  std::unique_ptr<Communicator> attn_tp_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<StepRunner> runner_;
  std::atomic<bool> fenced_{false};  // the daemon has said so
};

// The main function of a worker process, which inherited `control_fd`. Returns the process's exit status: 0
// after an orderly end, 1 if it could not start, 2 if it could not go on.
int RunWorker(int control_fd);

}  // namespace phalanx
