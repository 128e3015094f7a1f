// A small HTTP/1.1 client for our own tools: one request, one connection, chunked or plain answers.
#include "app/http_client.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace phalanx {
namespace {

constexpr int kPollMs = 200;
constexpr size_t kMaxHeadBytes = 64 * 1024;

class Socket {
 public:
  explicit Socket(const std::function<bool()>& stop) : stop_(stop) {}
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  Status Connect(const HttpUrl& url) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* addresses = nullptr;
    const int error = ::getaddrinfo(url.host.c_str(), url.port.c_str(), &hints, &addresses);
    if (error != 0) return Unavailable("cannot find host " + url.host + ": " + ::gai_strerror(error));
    Status status = Unavailable("host " + url.host + " has no address");
    for (const addrinfo* address = addresses; address != nullptr && !status.ok();
         address = address->ai_next) {
      status = ConnectTo(*address, url);
      if (status.code() == StatusCode::kCancelled) break;
    }
    ::freeaddrinfo(addresses);
    return status;
  }

  Status Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n >= 0) {
        bytes.remove_prefix(static_cast<size_t>(n));
      } else if (errno == EAGAIN || errno == EINTR) {
        RETURN_IF_ERROR(Wait(POLLOUT));
      } else {
        return Unavailable(std::string("the server broke the connection off: ") + std::strerror(errno));
      }
    }
    return Status::Ok();
  }

  // Appends what is there; false at the end of the stream.
  Result<bool> Receive(std::string* out) {
    char bytes[16384];
    for (;;) {
      const ssize_t n = ::recv(fd_, bytes, sizeof(bytes), 0);
      if (n > 0) out->append(bytes, static_cast<size_t>(n));
      if (n >= 0) return n > 0;
      if (errno != EAGAIN && errno != EINTR) {
        return Unavailable(std::string("the server broke the connection off: ") + std::strerror(errno));
      }
      RETURN_IF_ERROR(Wait(POLLIN));
    }
  }

 private:
  Status ConnectTo(const addrinfo& address, const HttpUrl& url) {
    if (fd_ >= 0) ::close(fd_);
    fd_ =
        ::socket(address.ai_family, address.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address.ai_protocol);
    if (fd_ < 0) return ErrnoStatus("socket");
    int error = ::connect(fd_, address.ai_addr, address.ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS || error == EINTR) {
      RETURN_IF_ERROR(Wait(POLLOUT));
      socklen_t length = sizeof(error);
      ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &length);
    }
    if (error == 0) return Status::Ok();
    return Unavailable("no server at " + url.host + ":" + url.port + " (" + std::strerror(error) + ")");
  }

  Status Wait(short events) {
    for (;;) {
      if (stop_()) return Cancelled("stopped");
      pollfd entry{.fd = fd_, .events = events, .revents = 0};
      if (::poll(&entry, 1, kPollMs) > 0) return Status::Ok();
    }
  }

  const std::function<bool()>& stop_;
  int fd_ = -1;
};

struct Head {
  int status = 0;
  bool chunked = false;
  int64_t content_length = -1;
};

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// `text`: status line and headers, without the empty line.
Result<Head> ParseHead(std::string_view text) {
  Head head;
  const size_t space = text.find(' ');
  if (!text.starts_with("HTTP/1.") || space == std::string_view::npos || space + 4 > text.size()) {
    return Unavailable("the server does not speak HTTP/1.1");
  }
  std::from_chars(text.data() + space + 1, text.data() + space + 4, head.status);
  size_t line_end = text.find("\r\n");
  while (line_end != std::string_view::npos) {
    text.remove_prefix(line_end + 2);
    line_end = text.find("\r\n");
    const std::string_view line = text.substr(0, line_end);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    std::string_view value = line.substr(colon + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    if (EqualsIgnoringCase(line.substr(0, colon), "transfer-encoding")) {
      head.chunked = EqualsIgnoringCase(value, "chunked");
    } else if (EqualsIgnoringCase(line.substr(0, colon), "content-length")) {
      std::from_chars(value.data(), value.data() + value.size(), head.content_length);
    }
  }
  return head;
}

// Undoes the framing of a body. Takes bytes as they come.
class BodyReader {
 public:
  BodyReader(const Head& head, const std::function<void(int, std::string_view)>& on_body)
      : head_(head), on_body_(on_body), left_(head.chunked ? 0 : head.content_length) {}

  // True when the body is complete.
  bool Push(std::string* bytes) {
    if (!head_.chunked) return Plain(bytes);
    for (;;) {
      if (left_ > 0) {
        if (!Take(bytes)) return false;
        needs_line_end_ = left_ == 0;
        if (left_ > 0) return false;
      }
      if (needs_line_end_) {
        if (bytes->size() < 2) return false;
        bytes->erase(0, 2);
        needs_line_end_ = false;
      }
      const size_t end = bytes->find("\r\n");
      if (end == std::string::npos) return false;
      std::from_chars(bytes->data(), bytes->data() + end, left_, 16);
      bytes->erase(0, end + 2);
      if (left_ <= 0) return true;
    }
  }

 private:
  bool Plain(std::string* bytes) {
    if (left_ < 0) {  // until the connection ends
      if (!bytes->empty()) on_body_(head_.status, *bytes);
      bytes->clear();
      return false;
    }
    if (left_ > 0) Take(bytes);
    return left_ == 0;
  }

  // Gives up to left_ bytes on; false if there were none.
  bool Take(std::string* bytes) {
    const size_t count = std::min(bytes->size(), static_cast<size_t>(left_));
    if (count == 0) return false;
    on_body_(head_.status, std::string_view(*bytes).substr(0, count));
    bytes->erase(0, count);
    left_ -= static_cast<int64_t>(count);
    return true;
  }

  const Head head_;
  const std::function<void(int, std::string_view)>& on_body_;
  int64_t left_;
  bool needs_line_end_ = false;
};

}  // namespace

Result<HttpUrl> ParseHttpUrl(const std::string& text) {
  constexpr std::string_view kScheme = "http://";
  const Status bad = InvalidArgument("the address must be http://HOST[:PORT], got " + text);
  if (!text.starts_with(kScheme)) return bad;
  std::string rest = text.substr(kScheme.size());
  HttpUrl url;
  if (const size_t slash = rest.find('/'); slash != std::string::npos) {
    url.prefix = rest.substr(slash);
    rest.erase(slash);
    while (url.prefix.ends_with('/')) url.prefix.pop_back();
  }
  size_t host_end = rest.find(':');
  if (rest.starts_with('[')) {
    host_end = rest.find(']');
    if (host_end == std::string::npos) return bad;
    url.host = rest.substr(1, host_end - 1);
    ++host_end;
  } else {
    url.host = rest.substr(0, host_end);
  }
  const bool has_port = host_end < rest.size() && rest[host_end] == ':';
  url.port = has_port ? rest.substr(host_end + 1) : "80";
  if (url.host.empty() || url.port.empty()) return bad;
  return url;
}

Result<int> Fetch(const HttpUrl& url, std::string_view method, std::string_view path, std::string_view body,
                  const std::function<bool()>& stop,
                  const std::function<void(int, std::string_view)>& on_body) {
  Socket socket(stop);
  RETURN_IF_ERROR(socket.Connect(url));
  std::string request(method);
  const bool v6 = url.host.find(':') != std::string::npos;
  request.append(" ").append(url.prefix).append(path).append(" HTTP/1.1\r\nHost: ");
  request.append(v6 ? "[" + url.host + "]" : url.host).append(":").append(url.port);
  request.append("\r\nConnection: close\r\nAccept: */*\r\n");
  if (!body.empty()) request += "Content-Type: application/json\r\n";
  request.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n\r\n").append(body);
  RETURN_IF_ERROR(socket.Send(request));

  std::string bytes;
  size_t head_end;
  while ((head_end = bytes.find("\r\n\r\n")) == std::string::npos) {
    ASSIGN_OR_RETURN(const bool more, socket.Receive(&bytes));
    if (!more || bytes.size() > kMaxHeadBytes) return Unavailable("the server broke off without an answer");
  }
  ASSIGN_OR_RETURN(const Head head, ParseHead(std::string_view(bytes).substr(0, head_end)));
  bytes.erase(0, head_end + 4);
  BodyReader reader(head, on_body);
  while (!reader.Push(&bytes)) {
    ASSIGN_OR_RETURN(const bool more, socket.Receive(&bytes));
    if (more) continue;
    if (!head.chunked && head.content_length < 0) break;
    return Unavailable("the server broke off in the middle of its answer");
  }
  return head.status;
}

}  // namespace phalanx
