#include "serve/engine/request_queue.h"

#include <algorithm>
#include <string>
#include <utility>

namespace phalanx {

Result<RequestId> RequestQueue::Submit(Request request, Engine::OutputCallback on_output) {
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(state_);
  const int64_t free_places = std::max<int64_t>(0, max_running_ - occupancy_.running - occupancy_.queued);
  if (occupancy_.queued + std::max<int64_t>(0, num_unseen_ - free_places) >= max_queued_) {
    return ResourceExhausted("the queue is full: " + std::to_string(occupancy_.running) +
                             " requests are running and " + std::to_string(max_queued_) + " are waiting");
  }
  const RequestId id = next_id_++;
  request.id = id;
  commands_.push_back({EngineCommand::Kind::kSubmit, id, 0, std::move(request), std::move(on_output)});
  ++num_live_;
  ++num_unseen_;
  return id;
}

void RequestQueue::Push(EngineCommand command) {
  std::lock_guard lock(mutex_);
  commands_.push_back(std::move(command));
}

void RequestQueue::Take(std::vector<EngineCommand>* commands) {
  commands->clear();
  std::lock_guard lock(mutex_);
  commands->swap(commands_);
}

void RequestQueue::SetOccupancy(Occupancy occupancy) {
  std::lock_guard lock(mutex_);
  occupancy_ = occupancy;
  num_unseen_ = std::count_if(commands_.begin(), commands_.end(), [](const EngineCommand& command) {
    return command.kind == EngineCommand::Kind::kSubmit;
  });
}

void RequestQueue::RequestEnded() {
  std::lock_guard lock(mutex_);
  if (--num_live_ == 0) idle_.notify_all();
}

void RequestQueue::SetState(Status state) {
  std::lock_guard lock(mutex_);
  if (!closed_) state_ = std::move(state);
}

Status RequestQueue::state() const {
  std::lock_guard lock(mutex_);
  return state_;
}

void RequestQueue::Close(Status reason) {
  std::lock_guard lock(mutex_);
  if (closed_) return;
  closed_ = true;
  state_ = std::move(reason);
}

bool RequestQueue::WaitUntilIdle(std::chrono::milliseconds deadline) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, deadline, [this] { return num_live_ == 0; });
}

int64_t RequestQueue::num_unseen() const {
  std::lock_guard lock(mutex_);
  return num_unseen_;
}

}  // namespace phalanx
