#include "base/unix_socket.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace phalanx {
namespace {

int PollTimeout(SteadyTime deadline) {
  if (deadline == SteadyTime::max()) return -1;
  // SteadyTime::min() minus anything would overflow.
  const SteadyTime now = std::chrono::steady_clock::now();
  if (deadline <= now) return 0;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now);
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 3'600'000));
}

Result<bool> WaitFor(int fd, short events, SteadyTime deadline) {
  while (true) {
    pollfd entry{fd, events, 0};
    const int ready = ::poll(&entry, 1, PollTimeout(deadline));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return ErrnoStatus("poll");
    if (std::chrono::steady_clock::now() >= deadline) return false;
  }
}

union ControlBuffer {
  cmsghdr align;
  char bytes[CMSG_SPACE(sizeof(int) * MessageSocket::kMaxFds)];
};

}  // namespace

Result<bool> WaitReadable(int fd, SteadyTime deadline) {
  return WaitFor(fd, POLLIN, deadline);
}

Result<std::pair<MessageSocket, MessageSocket>> MessageSocket::CreatePair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) return ErrnoStatus("socketpair");
  return std::make_pair(MessageSocket(UniqueFd(fds[0])), MessageSocket(UniqueFd(fds[1])));
}

Status MessageSocket::Send(std::string_view text, const std::vector<int>& fds, SteadyTime deadline) {
  if (text.size() > kMaxMessageBytes || fds.size() > kMaxFds) {
    return InvalidArgument("a message of " + std::to_string(text.size()) + " bytes and " +
                           std::to_string(fds.size()) + " descriptors is too long for the control socket");
  }
  iovec part{const_cast<char*>(text.data()), text.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  ControlBuffer control{};
  if (!fds.empty()) {
    header.msg_control = control.bytes;
    header.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* const entry = CMSG_FIRSTHDR(&header);
    entry->cmsg_level = SOL_SOCKET;
    entry->cmsg_type = SCM_RIGHTS;
    entry->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::memcpy(CMSG_DATA(entry), fds.data(), sizeof(int) * fds.size());
  }
  while (true) {
    if (::sendmsg(fd_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return Status::Ok();
    if (errno == EPIPE || errno == ECONNRESET)
      return Unavailable("the control socket was closed by the other side");
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return ErrnoStatus("send on the control socket");
    ASSIGN_OR_RETURN(const bool writable, WaitFor(fd_.get(), POLLOUT, deadline));
    if (!writable) return DeadlineExceeded("the other side of the control socket takes no messages");
  }
}

Result<MessageSocket::Message> MessageSocket::Receive(SteadyTime deadline) {
  std::string buffer(kMaxMessageBytes, '\0');
  iovec part{buffer.data(), buffer.size()};
  while (true) {
    ControlBuffer control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.bytes;
    header.msg_controllen = sizeof(control.bytes);
    const ssize_t got = ::recvmsg(fd_.get(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      ASSIGN_OR_RETURN(const bool readable, WaitFor(fd_.get(), POLLIN, deadline));
      if (!readable) return DeadlineExceeded("no message came on the control socket");
      continue;
    }
    if (got == 0 || (got < 0 && errno == ECONNRESET)) {
      return Unavailable("the control socket was closed by the other side");
    }
    if (got < 0) return ErrnoStatus("receive on the control socket");

    Message message;
    for (cmsghdr* entry = CMSG_FIRSTHDR(&header); entry != nullptr; entry = CMSG_NXTHDR(&header, entry)) {
      if (entry->cmsg_level != SOL_SOCKET || entry->cmsg_type != SCM_RIGHTS) continue;
      const size_t count = (entry->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(entry) + i * sizeof(int), sizeof(int));
        message.fds.emplace_back(fd);
      }
    }
    if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
      return Internal("a message on the control socket was cut");
    buffer.resize(static_cast<size_t>(got));
    message.text = std::move(buffer);
    return message;
  }
}

}  // namespace phalanx
