#include "serve/engine/worker_process.h"

#include <signal.h>

#include <algorithm>

namespace phalanx {

SteadyTime WorkerProcess::SendDeadline() {
  return std::chrono::steady_clock::now() + std::chrono::seconds(10);
}

Result<WorkerProcess> WorkerProcess::Spawn(const std::string& program, const WorkerInit& init,
                                           const SharedMemory& channel) {
  ASSIGN_OR_RETURN(auto sockets, MessageSocket::CreatePair());
  WorkerProcess worker(std::move(sockets.first), init);
  SpawnOptions options;
  options.program = program;
  options.arguments = {"--control-fd", "3"};
  options.inherited_fds = {sockets.second.fd()};
  ASSIGN_OR_RETURN(worker.process_, ChildProcess::Spawn(options));
  RETURN_IF_ERROR(worker.control_.Send(ToMessage(init), {channel.fd()}, SendDeadline()));
  return worker;
}

std::string WorkerProcess::Name() const {
  return "rank " + std::to_string(rank()) + " (process " + std::to_string(pid()) + ")";
}

void WorkerProcess::Kill() {
  process_.Signal(SIGKILL);
}

Result<bool> WorkerProcess::TakeMessage() {
  const Result<MessageSocket::Message> message = control_.Receive(SteadyTime::min());
  if (message.status().code() == StatusCode::kDeadlineExceeded) return false;
  if (!message.ok()) {
    // Its end closed the socket; how it ended is known a moment later.
    const auto ending = WaitEnd(std::chrono::steady_clock::now() + std::chrono::seconds(2));
    return Unavailable(Name() + " " + ending.value_or("closed its control socket"));
  }
  ASSIGN_OR_RETURN(const MessageKind kind, KindOfMessage(message->text));
  switch (kind) {
    case MessageKind::kFacts:
      RETURN_IF_ERROR(FromMessage(message->text, &facts_));
      break;
    case MessageKind::kProgress: {
      PackProgress progress;
      RETURN_IF_ERROR(FromMessage(message->text, &progress));
      tasks_done_ = progress.tasks_done;
      return true;
    }
    case MessageKind::kPacked:
      // Progress comes now and then only; this is all of its share.
      tasks_done_ =
          std::max(0, facts_.num_pack_tasks - init_.pack_index + init_.pack_count - 1) / init_.pack_count;
      break;
    case MessageKind::kReady:
      RETURN_IF_ERROR(FromMessage(message->text, &ready_));
      break;
    case MessageKind::kError: {
      WorkerError error;
      RETURN_IF_ERROR(FromMessage(message->text, &error));
      return Status(error.status.code(), Name() + ": " + error.status.message());
    }
    default:
      return Internal(Name() + " sent an unexpected message: " + message->text);
  }
  stage_ = kind;
  return true;
}

}  // namespace phalanx
