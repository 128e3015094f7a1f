#include "serve/http/http_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

namespace phalanx {
namespace {

using std::chrono::milliseconds;

// A blocking client socket that reads with a time limit.
class Client {
 public:
  explicit Client(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    ::inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~Client() { Close(); }

  bool connected() const { return connected_; }
  int fd() const { return fd_; }

  void Close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }

  // Reads until `text` appears; everything read so far. Stops at the end of the stream and after `timeout`.
  std::string ReadUntil(std::string_view text, milliseconds timeout = milliseconds(5000)) {
    while (text.empty() || read_.find(text) == std::string::npos) {
      pollfd entry{.fd = fd_, .events = POLLIN, .revents = 0};
      if (::poll(&entry, 1, static_cast<int>(timeout.count())) <= 0) break;
      char buffer[65536];
      const ssize_t n = ::recv(fd_, buffer, sizeof(buffer), 0);
      if (n <= 0) {
        closed_ = true;
        break;
      }
      read_.append(buffer, static_cast<size_t>(n));
    }
    return read_;
  }
  std::string ReadAll(milliseconds timeout = milliseconds(5000)) { return ReadUntil("", timeout); }
  bool closed() const { return closed_; }
  void Forget() { read_.clear(); }

 private:
  int fd_;
  bool connected_ = false;
  bool closed_ = false;
  std::string read_;
};

// A server with a few routes; /hold keeps the writer for the test.
class HttpServerTest : public ::testing::Test {
 protected:
  void Start(HttpServerOptions options = {}) {
    auto router = std::make_shared<Router>();
    router->Add("GET", "/hello", [](HttpRequest, std::shared_ptr<EventWriter> writer) {
      writer->Respond({.content_type = "text/plain", .headers = {}, .body = "hello"});
    });
    router->Add("POST", "/echo", [](HttpRequest request, std::shared_ptr<EventWriter> writer) {
      writer->Respond(
          {.content_type = "text/plain", .headers = {}, .body = std::to_string(request.body.size())});
    });
    router->Add("GET", "/hold", [this](HttpRequest, std::shared_ptr<EventWriter> writer) {
      writer->OnCancel([this] {
        std::lock_guard lock(mutex_);
        ++num_cancelled_;
        changed_.notify_all();
      });
      std::lock_guard lock(mutex_);
      held_.push_back(std::move(writer));
      changed_.notify_all();
    });
    router->Add("GET", "/forget", [](HttpRequest, std::shared_ptr<EventWriter>) {});
    router->Add("GET", "/throw", [](HttpRequest, std::shared_ptr<EventWriter>) { throw std::bad_alloc(); });
    auto server = HttpServer::Create(std::move(options), {{"business", "127.0.0.1", 0, router}});
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = std::move(server).value();
    server_->Start();
  }

  void TearDown() override {
    held_.clear();
    server_.reset();
  }

  uint16_t port() const { return server_->port(0); }

  std::shared_ptr<EventWriter> TakeHeld() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, milliseconds(5000), [this] { return !held_.empty(); });
    if (held_.empty()) return nullptr;
    auto writer = held_.front();
    held_.erase(held_.begin());
    return writer;
  }

  bool WaitCancelled(int count, milliseconds timeout) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, [&] { return num_cancelled_ >= count; });
  }

  // The server still answers.
  void ExpectAlive() {
    Client client(port());
    ASSERT_TRUE(client.Send("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    EXPECT_NE(client.ReadAll().find("\r\n\r\nhello"), std::string::npos);
  }

  std::unique_ptr<HttpServer> server_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<EventWriter>> held_;
  int num_cancelled_ = 0;
};

TEST_F(HttpServerTest, KeepsTheConnectionAndAnswersPipelinedRequestsInOrder) {
  Start();
  Client client(port());
  ASSERT_TRUE(client.Send(
      "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"));
  const std::string answer = client.ReadUntil("\r\n\r\n4");
  const size_t hello = answer.find("hello"), three = answer.find("\r\n\r\n3");
  EXPECT_NE(hello, std::string::npos);
  EXPECT_NE(three, std::string::npos);
  EXPECT_LT(hello, three);
  EXPECT_NE(answer.find("Connection: keep-alive"), std::string::npos);
}

TEST_F(HttpServerTest, RequestInSingleBytes) {
  Start();
  Client client(port());
  for (char c : std::string_view("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab")) {
    ASSERT_TRUE(client.Send({&c, 1}));
  }
  EXPECT_NE(client.ReadUntil("\r\n\r\n2").find("200 OK"), std::string::npos);
}

TEST_F(HttpServerTest, UnknownPathWrongMethodAndHead) {
  HttpServerOptions options;
  options.render_error = [](int status, const std::string& message) {
    return HttpResponse{.status = status, .headers = {}, .body = "E:" + message};
  };
  Start(options);
  Client client(port());
  ASSERT_TRUE(client.Send("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_NE(client.ReadUntil("E:no such path").find("404 Not Found"), std::string::npos);
  client.Forget();
  ASSERT_TRUE(client.Send("DELETE /hello HTTP/1.1\r\nHost: x\r\n\r\n"));
  const std::string wrong = client.ReadUntil("E:");
  EXPECT_NE(wrong.find("405 Method Not Allowed"), std::string::npos);
  EXPECT_NE(wrong.find("Allow: GET"), std::string::npos);
  client.Forget();
  ASSERT_TRUE(client.Send("HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  const std::string head = client.ReadAll();
  EXPECT_NE(head.find("Content-Length: 5"), std::string::npos);
  EXPECT_EQ(head.find("hello"), std::string::npos);
}

TEST_F(HttpServerTest, ForgottenAndThrowingHandlersAnswer500) {
  Start();
  for (const char* path : {"/forget", "/throw"}) {
    Client client(port());
    ASSERT_TRUE(client.Send(std::string("GET ") + path + " HTTP/1.1\r\nHost: x\r\n\r\n"));
    EXPECT_NE(client.ReadUntil("\r\n\r\n").find("500 Internal"), std::string::npos);
  }
}

TEST_F(HttpServerTest, StreamsChunksAsTheyAreWritten) {
  Start();
  Client client(port());
  ASSERT_TRUE(client.Send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"));
  auto writer = TakeHeld();
  ASSERT_NE(writer, nullptr);
  writer->Begin({.content_type = "text/event-stream", .headers = {{"X-A", "b"}}, .body = ""});
  writer->Write("data: 1\n\n");
  const std::string first = client.ReadUntil("data: 1\n\n\r\n");
  EXPECT_NE(first.find("Transfer-Encoding: chunked"), std::string::npos);
  EXPECT_NE(first.find("X-A: b"), std::string::npos);
  EXPECT_NE(first.find("9\r\ndata: 1\n\n\r\n"), std::string::npos);
  writer->Write("data: 2\n\n");
  writer->End();
  EXPECT_TRUE(client.ReadUntil("0\r\n\r\n").ends_with("0\r\n\r\n"));
  client.Forget();
  ASSERT_TRUE(client.Send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_NE(client.ReadUntil("hello").find("200 OK"), std::string::npos);
  EXPECT_FALSE(WaitCancelled(1, milliseconds(0)));
}

TEST_F(HttpServerTest, Http10ClientsGetTheStreamUnframed) {
  Start();
  Client client(port());
  ASSERT_TRUE(client.Send("GET /hold HTTP/1.0\r\n\r\n"));
  auto writer = TakeHeld();
  ASSERT_NE(writer, nullptr);
  writer->Begin({.headers = {}, .body = ""});
  writer->Write("abc");
  writer->End();
  const std::string answer = client.ReadAll();
  EXPECT_TRUE(client.closed());
  EXPECT_TRUE(answer.ends_with("\r\n\r\nabc")) << answer;
  EXPECT_EQ(answer.find("chunked"), std::string::npos);
}

TEST_F(HttpServerTest, NoticesAClientThatGoesAwayWhileNothingIsWritten) {
  Start();
  Client client(port());
  ASSERT_TRUE(client.Send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"));
  auto writer = TakeHeld();
  ASSERT_NE(writer, nullptr);
  client.Close();
  EXPECT_TRUE(WaitCancelled(1, milliseconds(200)));
  writer->Begin({.headers = {}, .body = ""});
  writer->Write("to nobody");
  writer->End();
  ExpectAlive();
}

TEST_F(HttpServerTest, AbandonedStreamIsBrokenOff) {
  Start();
  Client client(port());
  ASSERT_TRUE(client.Send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"));
  auto writer = TakeHeld();
  ASSERT_NE(writer, nullptr);
  writer->Begin({.headers = {}, .body = "a"});
  client.ReadUntil("a\r\n");
  writer.reset();
  const std::string answer = client.ReadAll();
  EXPECT_TRUE(client.closed());
  EXPECT_FALSE(answer.ends_with("0\r\n\r\n"));
}

TEST_F(HttpServerTest, ClientThatDoesNotReadIsDropped) {
  HttpServerOptions options;
  options.max_pending_bytes = 256 * 1024;
  Start(options);
  Client client(port());
  ASSERT_TRUE(client.Send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"));
  auto writer = TakeHeld();
  ASSERT_NE(writer, nullptr);
  writer->Begin({.headers = {}, .body = ""});
  const std::string piece(64 * 1024, 'x');
  // Kernel buffers take a few MB, the exchange 256 KB; 400 pieces are far more.
  for (int i = 0; i < 400 && !WaitCancelled(1, milliseconds(0)); ++i) {
    writer->Write(piece);
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_TRUE(WaitCancelled(1, milliseconds(1000)));
  ExpectAlive();
}

TEST_F(HttpServerTest, WriteTimeoutEndsAStalledClient) {
  HttpServerOptions options;
  options.write_timeout = milliseconds(200);
  options.max_pending_bytes = size_t{1} << 30;
  Start(options);
  Client client(port());
  ASSERT_TRUE(client.Send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"));
  auto writer = TakeHeld();
  ASSERT_NE(writer, nullptr);
  writer->Begin({.headers = {}, .body = std::string(64 << 20, 'x')});
  EXPECT_TRUE(WaitCancelled(1, milliseconds(3000)));
}

TEST_F(HttpServerTest, ReadTimeoutEndsHalfARequest) {
  HttpServerOptions options;
  options.read_timeout = milliseconds(200);
  Start(options);
  Client silent(port()), half(port()), half_body(port());
  ASSERT_TRUE(half.Send("GET /hello HTTP/1.1\r\nHo"));
  ASSERT_TRUE(half_body.Send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"));
  for (Client* client : {&silent, &half, &half_body}) {
    client->ReadAll();
    EXPECT_TRUE(client->closed());
  }
  ExpectAlive();
}

TEST_F(HttpServerTest, TooLargeBodyAndHeaderAreRefused) {
  HttpServerOptions options;
  options.max_body_bytes = 1 << 20;
  Start(options);
  {
    Client client(port());
    client.Send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n");
    client.Send(std::string(3000000, 'x'));
    EXPECT_NE(client.ReadUntil("1MB").find("413 "), std::string::npos);
  }
  {
    Client client(port());
    client.Send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n");
    client.Send(std::string(0x200000, 'x'));
    EXPECT_NE(client.ReadUntil("1MB").find("413 "), std::string::npos);
  }
  {
    Client client(port());
    client.Send("GET /hello HTTP/1.1\r\nHost: x\r\nX-Long: " + std::string(100000, 'y'));
    EXPECT_NE(client.ReadUntil("longer than").find("431 "), std::string::npos);
  }
  ExpectAlive();
}

TEST_F(HttpServerTest, ExpectContinueIsAnswered) {
  Start();
  Client client(port());
  ASSERT_TRUE(
      client.Send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
  EXPECT_NE(client.ReadUntil("\r\n\r\n").find("100 Continue"), std::string::npos);
  ASSERT_TRUE(client.Send("ab"));
  EXPECT_NE(client.ReadUntil("\r\n\r\n2").find("200 OK"), std::string::npos);
}

TEST_F(HttpServerTest, GarbageIsAnswered400AndClosed) {
  Start();
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    std::string bytes = round % 3 == 0 ? "" : round % 3 == 1 ? "GET /hello HTTP/1.1\r\nHost: x\r\n" : "POST ";
    for (int i = 0; i < 200; ++i) bytes.push_back(static_cast<char>(random()));
    bytes += "\r\n\r\n";
    Client client(port());
    client.Send(bytes);
    ::shutdown(client.fd(), SHUT_WR);
    const std::string answer = client.ReadAll();
    EXPECT_TRUE(client.closed());
    EXPECT_TRUE(answer.empty() || answer.starts_with("HTTP/1.1 4")) << answer;
  }
  Client client(port());
  client.Send("not http at all\r\n\r\n");
  EXPECT_TRUE(client.ReadUntil("\r\n\r\n").starts_with("HTTP/1.1 400 "));
  ExpectAlive();
}

TEST_F(HttpServerTest, ManyConnectionsAndTheirLimit) {
  HttpServerOptions options;
  options.max_connections = 100;
  Start(options);
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 100; ++i) {
    clients.push_back(std::make_unique<Client>(port()));
    ASSERT_TRUE(clients.back()->Send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"));
  }
  for (auto& client : clients) EXPECT_NE(client->ReadUntil("hello").find("200 OK"), std::string::npos);
  Client late(port());
  EXPECT_NE(late.ReadAll().find("503"), std::string::npos);
  EXPECT_TRUE(late.closed());
  clients.clear();
  for (int i = 0; i < 200 && server_->num_connections() > 0; ++i)
    std::this_thread::sleep_for(milliseconds(10));
  ExpectAlive();
}

TEST_F(HttpServerTest, StopFinishesRunningAnswersAndClosesIdleConnections) {
  Start();
  Client idle(port()), busy(port());
  ASSERT_TRUE(idle.Send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"));
  idle.ReadUntil("hello");
  ASSERT_TRUE(busy.Send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"));
  auto writer = TakeHeld();
  ASSERT_NE(writer, nullptr);
  std::thread stopper([this] { server_->Stop(milliseconds(5000)); });
  idle.ReadAll();
  EXPECT_TRUE(idle.closed());
  writer->Respond({.headers = {}, .body = "done"});
  const std::string answer = busy.ReadAll();
  EXPECT_NE(answer.find("Connection: close"), std::string::npos);
  EXPECT_TRUE(answer.ends_with("done"));
  stopper.join();
  EXPECT_EQ(server_->num_connections(), 0);
}

TEST_F(HttpServerTest, StopCancelsWhatDoesNotFinish) {
  Start();
  Client client(port());
  ASSERT_TRUE(client.Send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"));
  auto writer = TakeHeld();
  ASSERT_NE(writer, nullptr);
  server_->Stop(milliseconds(50));
  EXPECT_TRUE(WaitCancelled(1, milliseconds(0)));
  writer->Begin({.headers = {}, .body = ""});
  writer->Write("to nobody");
  server_.reset();
  writer->End();
}

TEST_F(HttpServerTest, WritersOfManyThreadsAndServerThreads) {
  HttpServerOptions options;
  options.num_threads = 2;
  Start(options);
  constexpr int kStreams = 16, kEvents = 200;
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<std::shared_ptr<EventWriter>> writers;
  for (int i = 0; i < kStreams; ++i) {
    clients.push_back(std::make_unique<Client>(port()));
    ASSERT_TRUE(clients.back()->Send("GET /hold HTTP/1.0\r\n\r\n"));
    writers.push_back(TakeHeld());
    ASSERT_NE(writers.back(), nullptr);
  }
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = t; i < kStreams; i += 4)
        writers[static_cast<size_t>(i)]->Begin({.headers = {}, .body = ""});
      for (int e = 0; e < kEvents; ++e) {
        for (int i = t; i < kStreams; i += 4) writers[static_cast<size_t>(i)]->Write("event\n");
      }
      for (int i = t; i < kStreams; i += 4) writers[static_cast<size_t>(i)]->End();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (auto& client : clients) {
    const std::string answer = client->ReadAll();
    const std::string body = answer.substr(answer.find("\r\n\r\n") + 4);
    EXPECT_EQ(body.size(), size_t{6} * kEvents);
  }
}

TEST(HttpServerListenTest, NamesWhatCannotBeBound) {
  auto router = std::make_shared<Router>();
  auto first = HttpServer::Create({}, {{"business", "127.0.0.1", 0, router}});
  ASSERT_TRUE(first.ok());
  const uint16_t port = first.value()->port(0);
  const auto busy = HttpServer::Create({}, {{"management", "127.0.0.1", port, router}});
  ASSERT_FALSE(busy.ok());
  EXPECT_EQ(busy.status().code(), StatusCode::kUnavailable);
  EXPECT_NE(
      busy.status().message().find("management plane cannot listen on 127.0.0.1:" + std::to_string(port)),
      std::string::npos);
  EXPECT_NE(busy.status().message().find("occupied"), std::string::npos);
  const auto foreign = HttpServer::Create({}, {{"business", "192.0.2.1", 1025, router}});
  ASSERT_FALSE(foreign.ok());
  EXPECT_NE(foreign.status().message().find("192.0.2.1 cannot be bound"), std::string::npos);
  EXPECT_FALSE(HttpServer::Create({}, {{"business", "nonsense", 1025, router}}).ok());
}

TEST(HttpServerListenTest, PlanesWithEqualAddressAndPortShareAListener) {
  const auto answer = [](std::string text) {
    return [text](HttpRequest, std::shared_ptr<EventWriter> writer) {
      writer->Respond({.content_type = "text/plain", .headers = {}, .body = text});
    };
  };
  auto business = std::make_shared<Router>(), management = std::make_shared<Router>();
  business->Add("GET", "/a", answer("A!"));
  management->Add("GET", "/b", answer("B!"));
  auto probe = HttpServer::Create({}, {{"probe", "127.0.0.1", 0, business}});
  ASSERT_TRUE(probe.ok());
  const uint16_t port = probe.value()->port(0);
  probe.value().reset();
  auto server = HttpServer::Create({}, {{"business", "127.0.0.1", port, business},
                                        {"management", "127.0.0.1", port, management},
                                        {"metrics", "::1", 0, management}});
  if (!server.ok()) {
    server = HttpServer::Create(
        {}, {{"business", "127.0.0.1", port, business}, {"management", "127.0.0.1", port, management}});
  }
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  server.value()->Start();
  EXPECT_EQ(server.value()->port(0), server.value()->port(1));
  for (const char* path : {"a", "b"}) {
    Client client(port);
    ASSERT_TRUE(
        client.Send(std::string("GET /") + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    EXPECT_EQ(client.ReadAll().find("404"), std::string::npos);
  }
}

}  // namespace
}  // namespace phalanx
