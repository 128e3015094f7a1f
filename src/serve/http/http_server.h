#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "serve/http/router.h"

namespace phalanx {

struct HttpServerOptions {
  int num_threads = 1;
  int64_t max_body_bytes = int64_t{40} << 20;       // of one request: 413 beyond
  int64_t max_total_body_bytes = int64_t{1} << 30;  // of all requests under way: 503 beyond
  uint32_t max_header_bytes = 32 * 1024;            // request line and headers: 431 beyond
  int max_connections = 4096;                       // per listener: 503 and close beyond
  size_t max_pending_bytes = size_t{4} << 20;      // unread bytes of one stream: the client is dropped beyond
  std::chrono::milliseconds read_timeout{60'000};  // for the next request, and for its body
  std::chrono::milliseconds write_timeout{600'000};  // for one write to a client that does not read
  // How the server words its own errors (404, 405, 413, ...). Null: plain text.
  std::function<HttpResponse(int status, const std::string& message)> render_error;
};

// A set of routes and where it listens.
struct HttpPlane {
  std::string name;     // for messages: "business"
  std::string address;  // IPv4 or IPv6
  uint16_t port = 0;    // 0: any free one
  std::shared_ptr<const Router> router;
};

// An HTTP/1.1 server with threads of its own. Planes with equal address and port share one listener. Nothing
// that a client sends ends the process or holds up another connection; malformed requests are answered 400
// and closed.
class HttpServer {
 public:
  // Binds and listens: connections queue up from now on, and are accepted from Start on. Errors:
  // InvalidArgument (not an address; the address cannot be bound on this machine), Unavailable (the port is
  // occupied); both name plane, address and port.
  static Result<std::unique_ptr<HttpServer>> Create(HttpServerOptions options, std::vector<HttpPlane> planes);

  // Stop(0).
  ~HttpServer();

  // Once.
  void Start();

  // Accepts nothing more, closes idle connections, lets answers that are under way finish until the deadline,
  // then closes theirs too (their requests are cancelled) and ends the threads. Not from a thread of the
  // server. Writers that somebody still holds stay valid and write to nobody.
  void Stop(std::chrono::milliseconds deadline);

  // The port that plane `index` listens on.
  uint16_t port(size_t index) const;

  int num_connections() const;

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace phalanx
