#include "compute/worker/control_watch.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <cerrno>

#include "plan/worker_messages.h"

namespace phalanx {

Result<std::unique_ptr<ControlWatch>> ControlWatch::Start(MessageSocket* control,
                                                          std::function<void()> on_fence,
                                                          std::function<void()> on_closed) {
  UniqueFd end(::eventfd(0, EFD_CLOEXEC));
  if (!end.ok()) return ErrnoStatus("eventfd");
  return std::unique_ptr<ControlWatch>(
      new ControlWatch(control, std::move(end), std::move(on_fence), std::move(on_closed)));
}

ControlWatch::ControlWatch(MessageSocket* control, UniqueFd end, std::function<void()> on_fence,
                           std::function<void()> on_closed)
    : control_(control),
      end_(std::move(end)),
      on_fence_(std::move(on_fence)),
      on_closed_(std::move(on_closed)),
      thread_([this] { Loop(); }) {}

ControlWatch::~ControlWatch() {
  ::eventfd_write(end_.get(), 1);
  thread_.join();
}

void ControlWatch::Loop() {
  while (true) {
    pollfd entries[2] = {{control_->fd(), POLLIN, 0}, {end_.get(), POLLIN, 0}};
    if (::poll(entries, 2, -1) < 0 && errno != EINTR) return;
    if (entries[1].revents != 0) return;
    if (entries[0].revents == 0) continue;
    const Result<MessageSocket::Message> message = control_->Receive();
    if (!message.ok()) return on_closed_();
    const Result<MessageKind> kind = KindOfMessage(message->text);
    if (kind.ok() && *kind == MessageKind::kFence) on_fence_();
  }
}

}  // namespace phalanx
