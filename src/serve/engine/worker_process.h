#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/child_process.h"
#include "base/shared_memory.h"
#include "base/status.h"
#include "base/unix_socket.h"
#include "plan/worker_messages.h"

namespace phalanx {

// One worker as the daemon sees it: its process, its control socket and what it has said. Used by one thread,
// the one that spawned it and lives as long.
class WorkerProcess {
 public:
  // Starts the program and sends it `init`.
  static Result<WorkerProcess> Spawn(const std::string& program, const WorkerInit& init,
                                     const SharedMemory& channel);

  int rank() const { return init_.rank; }
  const WorkerInit& init() const { return init_; }
  pid_t pid() const { return process_.pid(); }
  int pidfd() const { return process_.pidfd(); }
  int control_fd() const { return control_.fd(); }
  const ModelFacts& facts() const { return facts_; }
  const WorkerReady& ready() const { return ready_; }
  int tasks_done() const { return tasks_done_; }
  // The last stage of the start-up talk that it has reached: kInit, kFacts, kPacked or kReady.
  MessageKind stage() const { return stage_; }

  Status Send(MessageKind kind) { return control_.Send(ToMessage(kind), {}, SendDeadline()); }
  Status SendMemory(const WorkerMemory& memory, const std::vector<int>& fds) {
    return control_.Send(ToMessage(memory), fds, SendDeadline());
  }
  // Takes one message that has come, without waiting, and remembers what it says. False: there was none. An
  // error that the worker reports, or its end, becomes a Status that names rank and process.
  Result<bool> TakeMessage();

  // "rank 3 (process 4711)".
  std::string Name() const;
  // How it ended; nothing while it runs.
  std::optional<std::string> PollEnd() { return process_.Poll(); }
  std::optional<std::string> WaitEnd(SteadyTime deadline) { return process_.Wait(deadline); }
  void Kill();

 private:
  WorkerProcess(MessageSocket control, const WorkerInit& init) : control_(std::move(control)), init_(init) {}
  static SteadyTime SendDeadline();

  MessageSocket control_;
  WorkerInit init_;
  ChildProcess process_;
  MessageKind stage_ = MessageKind::kInit;
  ModelFacts facts_;
  WorkerReady ready_;
  int tasks_done_ = 0;
};

}  // namespace phalanx
