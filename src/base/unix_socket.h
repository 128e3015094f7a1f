#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/status.h"

namespace phalanx {

// One end of a pair of connected sockets between two processes of this machine: whole messages, in order,
// each with up to kMaxFds descriptors. One thread at a time per direction.
class MessageSocket {
 public:
  static constexpr size_t kMaxMessageBytes = size_t{128} << 10;
  static constexpr size_t kMaxFds = 64;

  struct Message {
    std::string text;
    std::vector<UniqueFd> fds;
  };

  static Result<std::pair<MessageSocket, MessageSocket>> CreatePair();
  explicit MessageSocket(UniqueFd fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }
  UniqueFd Release() { return std::move(fd_); }

  // Sends one message and copies of `fds`. Unavailable if the other end is gone, DeadlineExceeded if it takes
  // no messages, InvalidArgument if the message is too long.
  Status Send(std::string_view text, const std::vector<int>& fds = {},
              SteadyTime deadline = SteadyTime::max());
  // The next message. Unavailable "closed by the other side" at the end, DeadlineExceeded if none comes in
  // time. A deadline in the past asks without waiting.
  Result<Message> Receive(SteadyTime deadline = SteadyTime::max());

 private:
  UniqueFd fd_;
};

// Waits until the descriptor can be read (or its other end is gone). False if the deadline passed first.
Result<bool> WaitReadable(int fd, SteadyTime deadline);

}  // namespace phalanx
