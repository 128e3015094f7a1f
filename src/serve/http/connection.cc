// The life of one connection. Its coroutine reads a request, gives it to its handler and sends what the
// handler's Exchange holds, until the answer is complete. Meanwhile a read is pending on the socket: it
// notices a client that goes away and collects what a pipelining client sends ahead. All state is touched on
// the strand only, except the deadline.
#include "serve/http/connection.h"

#include <cstdio>
#include <ctime>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>

#include "serve/http/exchange.h"

namespace phalanx {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

namespace {

constexpr size_t kReadBytes = 8192;
constexpr size_t kMaxPipelinedBytes = 64 * 1024;
constexpr size_t kMaxLingerBytes = size_t{64} << 20;
constexpr std::chrono::seconds kLingerTime{2};

int64_t NowNs() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

std::string HttpDate() {
  const time_t now = ::time(nullptr);
  tm parts;
  char text[64];
  ::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", ::gmtime_r(&now, &parts));
  return text;
}

// Status line and headers. body_bytes < 0: chunked, or until the end of the connection if !chunked.
void AppendHead(const HttpResponse& response, int64_t body_bytes, bool chunked, bool keep_alive,
                std::string* out) {
  const auto header = [out](std::string_view name, std::string_view value) {
    out->append(name).append(": ").append(value).append("\r\n");
  };
  out->append("HTTP/1.1 ").append(std::to_string(response.status)).append(" ");
  out->append(HttpReason(response.status)).append("\r\n");
  if (!response.content_type.empty()) header("Content-Type", response.content_type);
  for (const auto& [name, value] : response.headers) header(name, value);
  if (body_bytes >= 0) header("Content-Length", std::to_string(body_bytes));
  if (chunked) header("Transfer-Encoding", "chunked");
  header("Connection", keep_alive ? "keep-alive" : "close");
  header("Date", HttpDate());
  out->append("\r\n");
}

void AppendChunk(std::string_view bytes, std::string* out) {
  char size[24];
  const int length = std::snprintf(size, sizeof(size), "%zx\r\n", bytes.size());
  out->append(size, static_cast<size_t>(length)).append(bytes).append("\r\n");
}

HttpRequest ToRequest(http::request<http::string_body>&& message) {
  HttpRequest request;
  request.method = std::string(message.method_string());
  std::string_view target(message.target().data(), message.target().size());
  if (target.starts_with("http://")) {  // absolute form, as proxies send it
    const size_t slash = target.find('/', 7);
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  const size_t question = target.find('?');
  request.path = std::string(target.substr(0, question));
  if (question != std::string_view::npos) request.query = std::string(target.substr(question + 1));
  for (const auto& field : message) {
    std::string name(field.name_string());
    for (char& c : name) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    request.headers.emplace_back(std::move(name), std::string(field.value()));
  }
  request.body = std::move(message.body());
  return request;
}

// The status to answer to what the parser refused; 0 if there is nobody to answer.
int StatusOfReadError(const error_code& error) {
  if (error == http::error::body_limit) return 413;
  if (error == http::error::header_limit) return 431;
  if (error == http::error::end_of_stream || error == http::error::partial_message) return 0;
  return error.category() == http::make_error_code(http::error::end_of_stream).category() ? 400 : 0;
}

// A share of the server's memory for bodies, given back at the end.
class BodyBudget {
 public:
  explicit BodyBudget(HttpServerState& state) : state_(state) {}
  ~BodyBudget() { state_.body_bytes -= taken_; }

  bool Take(int64_t bytes) {
    taken_ = bytes;
    return (state_.body_bytes += bytes) <= state_.options.max_total_body_bytes;
  }

 private:
  HttpServerState& state_;
  int64_t taken_ = 0;
};

class ConnectionImpl final : public Connection {
 public:
  ConnectionImpl(HttpSocket socket, HttpServerState& state, HttpListenerRoutes& routes)
      : socket_(std::move(socket)), signal_(socket_.get_executor()), state_(state), routes_(routes) {
    ++routes_.num_connections;
    std::lock_guard lock(state_.mutex);
    state_.connections.insert(this);
  }

  ~ConnectionImpl() override {
    --routes_.num_connections;
    std::lock_guard lock(state_.mutex);
    state_.connections.erase(this);
    if (state_.connections.empty()) state_.all_closed.notify_all();
  }

  HttpStrand strand() { return socket_.get_executor(); }

  // The coroutine. `self` keeps the connection alive.
  static asio::awaitable<void> Run(std::shared_ptr<ConnectionImpl> self) {
    bool go_on = true;
    while (go_on && !self->closed_ && !self->state_.stopping) {
      go_on = co_await self->HandleOne();
    }
    error_code ignored;
    self->socket_.shutdown(HttpSocket::shutdown_both, ignored);
    self->socket_.close(ignored);
  }

  void CheckDeadline(int64_t now_ns) override {
    const int64_t deadline = deadline_ns_;
    if (deadline != 0 && now_ns > deadline) Close();
  }

  void Finish() override {
    Post([](ConnectionImpl& self) {
      if (self.idle_) self.CloseNow();
    });
  }

  void Close() override {
    Post([](ConnectionImpl& self) { self.CloseNow(); });
  }

 private:
  // Called under state_.mutex, which the destructor takes before the object goes: `this` is valid, but its
  // last owner may be gone.
  template <class F>
  void Post(F f) {
    if (auto self = std::static_pointer_cast<ConnectionImpl>(weak_from_this().lock())) {
      asio::post(strand(), [self = std::move(self), f] { f(*self); });
    }
  }

  void CloseNow() {
    closed_ = true;
    if (exchange_) exchange_->Cancel();
    error_code ignored;
    socket_.close(ignored);
    Signal();
  }

  void SetDeadline(std::chrono::milliseconds timeout) {
    deadline_ns_ = NowNs() + std::chrono::duration_cast<std::chrono::nanoseconds>(timeout).count();
  }
  void ClearDeadline() { deadline_ns_ = 0; }

  void Signal() {
    signalled_ = true;
    signal_.cancel();
  }

  // The exchange has news. A write that hangs does not look at it: a broken stream ends here.
  void OnNotice() {
    if (exchange_ && exchange_->broken()) {
      CloseNow();
    } else {
      Signal();
    }
  }

  asio::awaitable<void> WaitSignal() {
    while (!signalled_) {
      error_code ignored;
      signal_.expires_at(asio::steady_timer::time_point::max());
      co_await signal_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    signalled_ = false;
  }

  // Sends out_. False if the client is gone.
  asio::awaitable<bool> Flush() {
    error_code error;
    SetDeadline(state_.options.write_timeout);
    co_await asio::async_write(socket_, asio::buffer(out_), asio::redirect_error(asio::use_awaitable, error));
    ClearDeadline();
    out_.clear();
    co_return !error && !closed_;
  }

  // One request and its answer. False: close the connection.
  asio::awaitable<bool> HandleOne() {
    http::request_parser<http::string_body> parser;
    parser.header_limit(state_.options.max_header_bytes);
    parser.body_limit(static_cast<uint64_t>(state_.options.max_body_bytes));
    BodyBudget budget(state_);
    error_code error;

    SetDeadline(state_.options.read_timeout);
    if (buffer_.size() == 0) {
      idle_ = true;
      const size_t num_bytes = co_await socket_.async_read_some(
          buffer_.prepare(kReadBytes), asio::redirect_error(asio::use_awaitable, error));
      idle_ = false;
      buffer_.commit(num_bytes);
      if (error) co_return false;
    }
    co_await http::async_read_header(socket_, buffer_, parser,
                                     asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return co_await Refuse(StatusOfReadError(error));
    if (!budget.Take(BodyBytes(parser))) co_return co_await Refuse(503);

    if (beast::iequals(parser.get()[http::field::expect], "100-continue") && !parser.is_done()) {
      out_ = "HTTP/1.1 100 Continue\r\n\r\n";
      const bool sent = co_await Flush();
      if (!sent) co_return false;
    }
    SetDeadline(state_.options.read_timeout);
    co_await http::async_read(socket_, buffer_, parser, asio::redirect_error(asio::use_awaitable, error));
    ClearDeadline();
    if (error) co_return co_await Refuse(StatusOfReadError(error));

    http_1_0_ = parser.get().version() < 11;
    keep_alive_ = parser.keep_alive();
    head_only_ = parser.get().method() == http::verb::head;
    HttpRequest request = ToRequest(parser.release());
    const bool alive = co_await Serve(std::move(request));
    co_return alive;
  }

  int64_t BodyBytes(const http::request_parser<http::string_body>& parser) const {
    if (parser.content_length()) return static_cast<int64_t>(*parser.content_length());
    return parser.chunked() ? state_.options.max_body_bytes : 0;
  }

  HttpResponse RenderError(int status, const std::string& message) const {
    if (state_.options.render_error) return state_.options.render_error(status, message);
    return {.status = status, .content_type = "text/plain", .headers = {}, .body = message};
  }

  // Answers a request that cannot be read, and closes in a way that lets the client read the answer: a close
  // with unread input would reset the connection. 0: only close.
  asio::awaitable<bool> Refuse(int status) {
    if (status == 0 || closed_) co_return false;
    std::string message = "malformed HTTP request";
    if (status == 413) {
      message = "Request body too large. Maximum allowed size is " +
                std::to_string(state_.options.max_body_bytes >> 20) + "MB.";
    } else if (status == 431) {
      message = "the request's headers are longer than " + std::to_string(state_.options.max_header_bytes) +
                " bytes";
    } else if (status == 503) {
      message = "too many bytes of request bodies under way";
    }
    const HttpResponse response = RenderError(status, message);
    out_.clear();
    AppendHead(response, static_cast<int64_t>(response.body.size()), false, false, &out_);
    out_ += response.body;
    const bool sent = co_await Flush();
    if (!sent) co_return false;

    error_code error;
    socket_.shutdown(HttpSocket::shutdown_send, error);
    SetDeadline(kLingerTime);
    size_t num_discarded = 0;
    std::string discard(kReadBytes, '\0');
    while (!error && num_discarded < kMaxLingerBytes) {
      num_discarded += co_await socket_.async_read_some(asio::buffer(discard),
                                                        asio::redirect_error(asio::use_awaitable, error));
    }
    co_return false;
  }

  // Pending read while the answer is under way.
  void StartMonitor() {
    if (buffer_.size() >= kMaxPipelinedBytes) return;
    monitor_pending_ = true;
    auto self = std::static_pointer_cast<ConnectionImpl>(shared_from_this());
    socket_.async_read_some(buffer_.prepare(kReadBytes), [self](error_code error, size_t num_bytes) {
      self->monitor_pending_ = false;
      self->buffer_.commit(num_bytes);
      if (self->monitor_stopping_ || self->closed_) {
        self->Signal();
      } else if (error) {
        self->CloseNow();
      } else {
        self->StartMonitor();
      }
    });
  }

  asio::awaitable<void> StopMonitor() {
    monitor_stopping_ = true;
    error_code ignored;
    if (monitor_pending_ && socket_.is_open()) socket_.cancel(ignored);
    while (monitor_pending_) co_await WaitSignal();
    monitor_stopping_ = false;
  }

  void Dispatch(HttpRequest request, std::shared_ptr<EventWriter> writer) {
    Router::Match match;
    std::string allow;
    for (const auto& router : routes_.routers) {
      match = router->Find(request.method, request.path);
      if (match.handler != nullptr) break;
      if (!match.allow.empty()) allow = match.allow;
    }
    if (match.handler == nullptr) {
      const bool known = !allow.empty();
      HttpResponse response =
          known ? RenderError(405, request.method + " is not allowed for " + request.path + ", only " + allow)
                : RenderError(404, "no such path: " + request.method + " " + request.path);
      if (known) response.headers.emplace_back("Allow", allow);
      writer->Respond(std::move(response));
      return;
    }
    request.param = std::move(match.param);
    try {
      (*match.handler)(std::move(request), writer);
    } catch (const std::exception&) {
      // Handlers do not throw what they know of; running out of memory must not end the process.
      writer->Respond(RenderError(500, "internal error"));
    }
  }

  asio::awaitable<bool> Serve(HttpRequest request) {
    exchange_ = std::make_shared<Exchange>(
        [this] { asio::post(strand(), [self = shared_from_this(), this] { OnNotice(); }); },
        state_.options.max_pending_bytes);
    signalled_ = false;
    StartMonitor();
    // The handler's share of the exchange: when the last copy goes, nobody can answer any more.
    std::shared_ptr<EventWriter> writer(exchange_.get(),
                                        [exchange = exchange_](EventWriter*) { exchange->Abandon(); });
    Dispatch(std::move(request), std::move(writer));

    bool alive = co_await SendAnswer();
    if (!alive) exchange_->Cancel();
    exchange_->Detach();
    exchange_.reset();
    if (!alive) {
      error_code ignored;
      socket_.close(ignored);
    }
    co_await StopMonitor();
    co_return alive && !closed_;
  }

  // Sends what the exchange holds until the answer is complete. False: close the connection.
  asio::awaitable<bool> SendAnswer() {
    std::string bytes;
    bool keep_alive = keep_alive_;
    const bool chunked = !http_1_0_;
    while (!closed_) {
      const Exchange::Ready ready = exchange_->Take(&bytes);
      if (ready.broken) co_return false;
      if (ready.responded) {
        keep_alive = keep_alive && !state_.stopping;
        AppendHead(ready.head, static_cast<int64_t>(ready.head.body.size()), false, keep_alive, &out_);
        if (!head_only_) out_ += ready.head.body;
        const bool sent = co_await Flush();
        co_return sent&& keep_alive;
      }
      if (ready.begun) {
        keep_alive = keep_alive && chunked && !state_.stopping;
        AppendHead(ready.head, -1, chunked, keep_alive, &out_);
      }
      if (!bytes.empty() && !head_only_) {
        if (chunked) {
          AppendChunk(bytes, &out_);
        } else {
          out_ += bytes;
        }
      }
      if (ready.ended && chunked && !head_only_) out_ += "0\r\n\r\n";
      if (!out_.empty()) {
        const bool sent = co_await Flush();
        if (!sent) co_return false;
      }
      if (ready.ended) co_return keep_alive;
      co_await WaitSignal();
    }
    co_return false;
  }

  HttpSocket socket_;
  asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                             HttpStrand>
      signal_;
  HttpServerState& state_;
  HttpListenerRoutes& routes_;
  beast::flat_buffer buffer_;
  std::string out_;
  std::shared_ptr<Exchange> exchange_;
  std::atomic<int64_t> deadline_ns_{0};
  bool signalled_ = false;
  bool monitor_pending_ = false;
  bool monitor_stopping_ = false;
  bool closed_ = false;
  bool idle_ = false;
  // Of the request under way.
  bool http_1_0_ = false;
  bool keep_alive_ = false;
  bool head_only_ = false;
};

}  // namespace

void Connection::Start(HttpSocket socket, HttpServerState& state, HttpListenerRoutes& routes) {
  auto connection = std::make_shared<ConnectionImpl>(std::move(socket), state, routes);
  HttpStrand strand = connection->strand();
  asio::co_spawn(strand, ConnectionImpl::Run(std::move(connection)), asio::detached);
}

}  // namespace phalanx
