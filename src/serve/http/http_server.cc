// Listeners and threads. One accepting coroutine per listener, one ticking coroutine that looks after the
// deadlines of all connections: a deadline costs a connection one store, not a timer.
#include "serve/http/http_server.h"

#include <pthread.h>

#include <algorithm>
#include <thread>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "serve/http/connection.h"

namespace phalanx {

namespace asio = boost::asio;
using boost::system::error_code;
using Tcp = asio::ip::tcp;

namespace {

struct Listener {
  explicit Listener(asio::io_context& context) : acceptor(context) {}

  std::string name;  // "business plane, 127.0.0.1:1025"
  std::string address;
  uint16_t wanted_port = 0;
  Tcp::acceptor acceptor;
  HttpListenerRoutes routes;
};

std::string EndpointText(const std::string& address, uint16_t port) {
  const bool v6 = address.find(':') != std::string::npos;
  return (v6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

Status BindError(const HttpPlane& plane, const error_code& error) {
  const std::string where = EndpointText(plane.address, plane.port);
  if (error == asio::error::address_in_use) {
    return Unavailable("the " + plane.name + " plane cannot listen on " + where +
                       ": listen port is occupied");
  }
  return InvalidArgument("the " + plane.name + " plane cannot listen on " + where + ": the address " +
                         plane.address + " cannot be bound (" + error.message() + ")");
}

Status Listen(const HttpPlane& plane, Listener* listener) {
  error_code error;
  const asio::ip::address address = asio::ip::make_address(plane.address, error);
  if (error) {
    return InvalidArgument("the " + plane.name + " plane cannot listen on \"" + plane.address +
                           "\": not an IPv4 or IPv6 address");
  }
  const Tcp::endpoint endpoint(address, plane.port);
  listener->acceptor.open(endpoint.protocol(), error);
  if (!error) listener->acceptor.set_option(Tcp::acceptor::reuse_address(true), error);
  if (!error) listener->acceptor.bind(endpoint, error);
  if (!error) listener->acceptor.listen(1024, error);
  if (error) return BindError(plane, error);
  return Status::Ok();
}

int64_t NowNs() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

}  // namespace

class HttpServer::Impl {
 public:
  explicit Impl(HttpServerOptions options) : context_(options.num_threads), tick_(context_) {
    state_.options = std::move(options);
  }

  Status AddPlane(HttpPlane plane) {
    for (size_t i = 0; i < listeners_.size(); ++i) {
      if (plane.port == 0 || listeners_[i]->address != plane.address ||
          listeners_[i]->wanted_port != plane.port)
        continue;
      listeners_[i]->routes.routers.push_back(std::move(plane.router));
      listener_of_plane_.push_back(i);
      return Status::Ok();
    }
    auto listener = std::make_unique<Listener>(context_);
    RETURN_IF_ERROR(Listen(plane, listener.get()));
    listener->address = plane.address;
    listener->wanted_port = plane.port;
    listener->routes.routers.push_back(std::move(plane.router));
    listener_of_plane_.push_back(listeners_.size());
    listeners_.push_back(std::move(listener));
    return Status::Ok();
  }

  void Start() {
    for (auto& listener : listeners_) {
      asio::co_spawn(context_, Accept(listener.get()), asio::detached);
    }
    asio::co_spawn(context_, Tick(), asio::detached);
    for (int i = 0; i < state_.options.num_threads; ++i) {
      threads_.emplace_back([this] {
        pthread_setname_np(pthread_self(), "phx-http");
        context_.run();
      });
    }
  }

  void Stop(std::chrono::milliseconds deadline) {
    if (stopped_) return;
    stopped_ = true;
    state_.stopping = true;
    asio::post(context_, [this] {
      error_code ignored;
      for (auto& listener : listeners_) listener->acceptor.close(ignored);
      tick_.cancel();
    });
    ForEachConnection([](Connection& connection) { connection.Finish(); });
    if (!threads_.empty() && !WaitClosed(deadline)) {
      // A connection that is accepted in this moment adds itself late: ask again until all are gone.
      do {
        ForEachConnection([](Connection& connection) { connection.Close(); });
      } while (!WaitClosed(std::chrono::milliseconds(20)));
    }
    work_.reset();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  uint16_t port(size_t plane) const {
    error_code ignored;
    const Listener& listener = *listeners_[listener_of_plane_[plane]];
    return listener.wanted_port != 0 ? listener.wanted_port
                                     : listener.acceptor.local_endpoint(ignored).port();
  }

  int num_connections() {
    std::lock_guard lock(state_.mutex);
    return static_cast<int>(state_.connections.size());
  }

 private:
  template <class F>
  void ForEachConnection(F f) {
    std::lock_guard lock(state_.mutex);
    for (Connection* connection : state_.connections) f(*connection);
  }

  bool WaitClosed(std::chrono::milliseconds timeout) {
    std::unique_lock lock(state_.mutex);
    return state_.all_closed.wait_for(lock, timeout, [this] { return state_.connections.empty(); });
  }

  asio::awaitable<void> Accept(Listener* listener) {
    while (!state_.stopping) {
      error_code error;
      HttpSocket socket(asio::make_strand(context_.get_executor()));
      co_await listener->acceptor.async_accept(socket, asio::redirect_error(asio::use_awaitable, error));
      if (!error) {
        Admit(std::move(socket), listener);
      } else if (error == asio::error::operation_aborted || !listener->acceptor.is_open()) {
        co_return;
      } else {
        // No descriptors or memory left: existing connections will give some back.
        asio::steady_timer pause(context_, std::chrono::milliseconds(50));
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
      }
    }
  }

  void Admit(HttpSocket socket, Listener* listener) {
    error_code ignored;
    socket.set_option(Tcp::no_delay(true), ignored);
    socket.non_blocking(true, ignored);
    if (listener->routes.num_connections >= state_.options.max_connections) {
      static constexpr std::string_view kFull =
          "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: "
          "close\r\n\r\n";
      socket.write_some(asio::buffer(kFull), ignored);
      return;
    }
    Connection::Start(std::move(socket), state_, listener->routes);
  }

  asio::awaitable<void> Tick() {
    const auto& options = state_.options;
    const auto period = std::clamp(std::min(options.read_timeout, options.write_timeout) / 8,
                                   std::chrono::milliseconds(10), std::chrono::milliseconds(1000));
    while (!state_.stopping) {
      error_code ignored;
      tick_.expires_after(period);
      co_await tick_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      const int64_t now_ns = NowNs();
      ForEachConnection([now_ns](Connection& connection) { connection.CheckDeadline(now_ns); });
    }
  }

  HttpServerState state_;  // outlives the context, whose destructor may destroy connections
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<size_t> listener_of_plane_;
  asio::steady_timer tick_;
  std::vector<std::thread> threads_;
  bool stopped_ = false;
};

Result<std::unique_ptr<HttpServer>> HttpServer::Create(HttpServerOptions options,
                                                       std::vector<HttpPlane> planes) {
  CHECK(options.num_threads >= 1);
  auto impl = std::make_unique<Impl>(std::move(options));
  for (HttpPlane& plane : planes) RETURN_IF_ERROR(impl->AddPlane(std::move(plane)));
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() {
  impl_->Stop(std::chrono::milliseconds(0));
}

void HttpServer::Start() {
  impl_->Start();
}

void HttpServer::Stop(std::chrono::milliseconds deadline) {
  impl_->Stop(deadline);
}

uint16_t HttpServer::port(size_t index) const {
  return impl_->port(index);
}

int HttpServer::num_connections() const {
  return impl_->num_connections();
}

}  // namespace phalanx
