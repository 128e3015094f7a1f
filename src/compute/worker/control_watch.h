#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "base/fd.h"
#include "base/status.h"
#include "base/unix_socket.h"

namespace phalanx {

// A thread that sleeps on the control socket while the worker computes: a step may be waiting for a rank that
// is lost, so the daemon's word must be heard beside it.
class ControlWatch {
 public:
  // Calls `on_fence` when the daemon says kFence, `on_closed` when it has gone; on the watch's thread.
  // `control` outlives it.
  static Result<std::unique_ptr<ControlWatch>> Start(MessageSocket* control, std::function<void()> on_fence,
                                                     std::function<void()> on_closed);
  ~ControlWatch();

 private:
  ControlWatch(MessageSocket* control, UniqueFd end, std::function<void()> on_fence,
               std::function<void()> on_closed);
  void Loop();

  MessageSocket* control_;
  UniqueFd end_;  // an event: the watch shall end
  std::function<void()> on_fence_, on_closed_;
  std::thread thread_;
};

}  // namespace phalanx
