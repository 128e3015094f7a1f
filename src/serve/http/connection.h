#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_set>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/strand.hpp>

#include "serve/http/http_server.h"
#include "serve/http/router.h"

namespace phalanx {

using HttpStrand = boost::asio::strand<boost::asio::io_context::executor_type>;
using HttpSocket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, HttpStrand>;

// One address and port: the routes of all its planes, first hit wins. Outlives its connections.
struct HttpListenerRoutes {
  std::vector<std::shared_ptr<const Router>> routers;
  std::atomic<int> num_connections{0};
};

class Connection;

// What all connections of a server share; outlives them.
struct HttpServerState {
  HttpServerOptions options;
  std::atomic<bool> stopping{false};
  std::atomic<int64_t> body_bytes{0};  // of the requests that are being read or answered

  std::mutex mutex;  // guards the set
  std::unordered_set<Connection*> connections;
  std::condition_variable all_closed;
};

// One TCP connection: reads a request, hands it to its route, sends the answer, and again. Everything runs on
// the strand of `socket`. Owned by its own coroutine.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // Starts the coroutine. Both references outlive it; `state.connections` holds it while it lives.
  static void Start(HttpSocket socket, HttpServerState& state, HttpListenerRoutes& routes);

  virtual ~Connection() = default;

  // Any thread. Closes it if its deadline has passed.
  virtual void CheckDeadline(int64_t now_ns) = 0;
  // Any thread. Closes it when the answer under way, if any, is sent.
  virtual void Finish() = 0;
  // Any thread. Closes it now and cancels the request under way.
  virtual void Close() = 0;
};

}  // namespace phalanx
