// What is the same for all endpoints: effective values, limits, faults, models, health, metrics; and the whole way
// through a socket.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>

#include "serve/api/error_reply.h"
#include "serve/api/fixture_for_test.h"
#include "serve/api/work_pool.h"
#include "serve/http/http_server.h"

namespace phalanx {
namespace {

// A model that reports the parameters it was given.
class ParamsTest : public ApiTest {
 protected:
  void SetUp() override {
    FakeExecutorOptions options;
    options.model = [this](const SequenceStart& start, const std::vector<int32_t>&) {
      std::lock_guard lock(mutex_);
      seen_ = start.sampling;
      return GoldenTokenizer()->stop_ids().front();
    };
    Start("", options);
  }
  SamplingParams Seen(const std::string& fields) {
    EXPECT_EQ(Chat(fields).status, 200) << fields;
    std::lock_guard lock(mutex_);
    return seen_;
  }

  std::mutex mutex_;
  SamplingParams seen_;
};

TEST_F(ParamsTest, WithoutParametersTheModelDecides) {
  EXPECT_EQ(Seen("").temperature, 0.0f);
  EXPECT_EQ(Seen(R"(,"top_p":0.5)").temperature, 1.0f);
  EXPECT_EQ(Seen(R"(,"n":2)").temperature, 1.0f);
  EXPECT_EQ(Seen(R"(,"temperature":0,"top_p":0.5)").temperature, 0.0f);
  context_.defaults.do_sample = true;
  context_.defaults.temperature = 0.6f;
  context_.defaults.top_p = 0.9f;
  context_.defaults.top_k = 20;
  context_.defaults.repetition_penalty = 1.1f;
  SamplingParams sampling = Seen("");
  EXPECT_EQ(sampling.temperature, 0.6f);
  EXPECT_EQ(sampling.top_p, 0.9f);
  EXPECT_EQ(sampling.top_k, 20);
  EXPECT_EQ(sampling.repetition_penalty, 1.1f);
  sampling = Seen(R"(,"temperature":0.7,"top_p":1,"top_k":-1,"repetition_penalty":1)");
  EXPECT_EQ(sampling.temperature, 0.7f);
  EXPECT_EQ(sampling.top_p, 1.0f);
  EXPECT_EQ(sampling.top_k, 0);
  EXPECT_EQ(sampling.repetition_penalty, 1.0f);
  EXPECT_EQ(Seen(R"(,"top_k":500)").top_k, 20);
  context_.defaults = {};
  EXPECT_EQ(Seen(R"(,"top_k":5000)").top_k, 1000);
}

TEST_F(ParamsTest, SeedsAreTakenOrDrawn) {
  EXPECT_EQ(Seen(R"(,"seed":9223372036854775807)").seed, uint64_t{9223372036854775807});
  EXPECT_NE(Seen("").seed, Seen("").seed);
}

TEST_F(ParamsTest, PinnedRank) {
  const std::string body = R"({"model":"tiny","messages":[{"role":"user","content":"x"}]})";
  EXPECT_EQ(Call("POST", "/v1/chat/completions", body, {{"x-data-parallel-rank", "0"}}).status, 200);
  for (const char* rank : {"1", "-1", "zero", "0x", "99999999999999"}) {
    const HttpResponse response =
        Call("POST", "/v1/chat/completions", body, {{"x-data-parallel-rank", rank}});
    EXPECT_EQ(response.status, 400) << rank;
    EXPECT_EQ(Parse(response)["error"]["param"], "X-Data-Parallel-Rank");
  }
}

TEST_F(ParamsTest, RequestIdComesBackIfHarmless) {
  const auto id = [&](const std::string& sent) {
    const HttpResponse response =
        Call("POST", "/v1/completions", R"({"model":"tiny","prompt":"x"})", {{"x-request-id", sent}});
    for (const auto& [name, value] : response.headers) {
      if (name == "X-Request-Id") return value;
    }
    return std::string();
  };
  EXPECT_EQ(id("abc-1.2_x"), "abc-1.2_x");
  for (const std::string& bad :
       {std::string("a b"), std::string("a\r\nX: y"), std::string(200, 'a'), std::string()}) {
    EXPECT_TRUE(id(bad).starts_with("cmpl-"));
  }
}

TEST_F(ApiTest, GenerationConfigIsRead) {
  const std::string folder = ::testing::TempDir() + "phx_generation_defaults";
  std::filesystem::create_directories(folder);
  EXPECT_FALSE(LoadGenerationDefaults(folder + "/none")->do_sample.has_value());
  std::ofstream(folder + "/generation_config.json")
      << R"({"do_sample":true,"temperature":0.6,"top_k":20,"top_p":0.95,"repetition_penalty":"x"})";
  const auto defaults = LoadGenerationDefaults(folder);
  ASSERT_TRUE(defaults.ok());
  EXPECT_EQ(defaults->do_sample, true);
  EXPECT_EQ(defaults->temperature, 0.6f);
  EXPECT_EQ(defaults->top_k, 20);
  EXPECT_FALSE(defaults->repetition_penalty.has_value());
  std::ofstream(folder + "/generation_config.json") << "{";
  EXPECT_FALSE(LoadGenerationDefaults(folder).ok());
  std::filesystem::remove_all(folder);
}

TEST_F(ApiTest, ClientThatGoesAwayFreesItsRequests) {
  FakeExecutorOptions options;
  options.step_time = std::chrono::microseconds(500);
  Start("never ending", options);
  const auto writer = Send("POST", "/v1/completions",
                           R"({"model":"tiny","prompt":["a","b"],"n":2,"stream":true,"ignore_eos":true})");
  ASSERT_TRUE(writer->WaitWrites(3));
  writer->Cancel();
  EXPECT_TRUE(WaitIdle());
  EXPECT_EQ(engine_->Stats().groups[0].used_blocks, 0);
}

TEST_F(ApiTest, FullQueueAndStoppingAre503WithRetryAfter) {
  FakeExecutorOptions options;
  options.holds_results = true;
  EngineOptions engine_options;
  engine_options.max_running_requests = 1;
  engine_options.max_queued_requests = 1;
  Start("words", options, engine_options);
  std::vector<std::shared_ptr<RecordingWriter>> accepted;
  HttpResponse refused;
  for (int i = 0; i < 5 && refused.body.empty(); ++i) {
    auto writer = Send("POST", "/v1/completions", R"({"model":"tiny","prompt":"a"})");
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    if (i < 2) {
      accepted.push_back(writer);
    } else {
      refused = writer->Wait();
    }
  }
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(Parse(refused)["error"]["code"], "queue_full");
  EXPECT_EQ(refused.headers.front().first, "Retry-After");
  executor_->Release();
  for (const auto& writer : accepted) EXPECT_EQ(writer->Wait().status, 200);
  engine_->Drain(std::chrono::milliseconds(1000));
  const HttpResponse stopping = Complete(R"(,"prompt":"a")");
  EXPECT_EQ(stopping.status, 503);
  EXPECT_EQ(Parse(stopping)["error"]["code"], "stopping");
  EXPECT_EQ(Call("GET", "/v2/health/ready").status, 503);
  EXPECT_EQ(Call("GET", "/health").status, 503);
}

TEST_F(ApiTest, DeadRankEndsStreamsWithAnErrorAndIsSeenByHealth) {
  FakeExecutorOptions options;
  options.step_time = std::chrono::microseconds(500);
  Start("words", options);
  const auto stream =
      Send("POST", "/v1/completions", R"({"model":"tiny","prompt":"a","stream":true,"ignore_eos":true})");
  ASSERT_TRUE(stream->WaitWrites(2));
  executor_->FailDomain(0, 0);
  const std::vector<Json> events = Events(stream->Wait());
  ASSERT_GE(events.size(), 2u);
  EXPECT_EQ(events.back(), "[DONE]");
  EXPECT_TRUE(events[events.size() - 2]["error"]["message"].is_string());
  EXPECT_EQ(Complete(R"(,"prompt":"a")").status, 503);
  EXPECT_EQ(Call("GET", "/v2/health/live").status, 500);
  EXPECT_EQ(Call("GET", "/health").status, 500);
}

TEST_F(ApiTest, NotStartedYet) {
  Start("words");
  context_.started = false;
  EXPECT_EQ(Call("GET", "/v2/health/live").status, 200);
  EXPECT_EQ(Call("GET", "/v2/health/ready").status, 503);
  EXPECT_EQ(Complete(R"(,"prompt":"a")").status, 503);
}

TEST_F(ApiTest, Models) {
  Start("words");
  const Json list = Parse(Call("GET", "/v1/models"));
  EXPECT_EQ(list["object"], "list");
  EXPECT_EQ(list["data"][0]["id"], "tiny");
  EXPECT_EQ(list["data"][0]["created"], 1700000000);
  EXPECT_EQ(Parse(Call("GET", "/v1/models/tiny"))["object"], "model");
  const HttpResponse unknown = Call("GET", "/v1/models/other");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(Parse(unknown)["error"]["code"], "model_not_found");
}

TEST_F(ApiTest, ErrorsRepeatWhatWasSentAsShortText) {
  Start("words");
  for (const std::string& name : {std::string("\xff\xfe"), std::string(100000, 'x')}) {
    const HttpResponse reply = Call("GET", "/v1/models/" + name);
    EXPECT_TRUE(Parse(reply)["error"]["message"].is_string());
    EXPECT_LT(reply.body.size(), 2000u);
  }
  EXPECT_TRUE(Parse(Call("POST", "/v1/completions", "{\"model\": \"\xff\"}"))["error"].is_object());
}

TEST_F(ApiTest, MetricsCount) {
  Start("a few words");
  EXPECT_EQ(Chat("").status, 200);
  EXPECT_EQ(Chat(R"(,"n":0)").status, 400);
  ASSERT_TRUE(WaitIdle());
  const HttpResponse response = Call("GET", "/metrics");
  EXPECT_TRUE(response.content_type.starts_with("text/plain"));
  const std::string tokens = std::to_string(script_ids_.size() + 1);
  for (const std::string& line :
       {std::string("request_received_total{model_name=\"tiny\"} 2"),
        std::string("request_success_total{model_name=\"tiny\"} 1"),
        std::string("request_failed_total{model_name=\"tiny\"} 1"),
        std::string("failed_request_perc{model_name=\"tiny\"} 0.5"),
        "generation_tokens_total{model_name=\"tiny\"} " + tokens,
        std::string("num_requests_running{model_name=\"tiny\"} 0"),
        std::string("time_to_first_token_seconds_count{model_name=\"tiny\"} 1"),
        "time_per_output_token_seconds_count{model_name=\"tiny\"} " + std::to_string(script_ids_.size()),
        std::string("e2e_request_latency_seconds_count{model_name=\"tiny\"} 1"),
        std::string("request_prompt_tokens_bucket{model_name=\"tiny\",le=\"10\"}"),
        "dp_rank_generation_tokens_total{model_name=\"tiny\",dp_rank=\"0\"} " + tokens}) {
    EXPECT_NE(response.body.find("\n" + line), std::string::npos) << line << "\n" << response.body;
  }
}

TEST_F(ApiTest, LongPromptsAreEncodedOnThePool) {
  Start("ok");
  WorkPool pool(2);
  context_.pool = &pool;
  context_.limits.max_inline_body_bytes = 100;
  std::string words;
  for (int i = 0; i < 50; ++i) words += " word";
  EXPECT_EQ(Complete(R"(,"prompt":")" + words + "\"").status, 200);
  EXPECT_EQ(Complete(R"(,"prompt":"x","n":)" + std::string(200, ' ') + "0").status, 400);
  context_.pool = nullptr;
}

// The whole way, with a socket: events arrive, and a client that hangs up is an abort.
TEST_F(ApiTest, ThroughASocket) {
  FakeExecutorOptions options;
  options.step_time = std::chrono::microseconds(500);
  Start("hello from the server", options);
  HttpServerOptions http_options;
  http_options.render_error = HttpErrorReply;
  auto server =
      HttpServer::Create(http_options, {{"business", "127.0.0.1", 0, MakeRouter(kBusinessPlane, context_)}});
  ASSERT_TRUE(server.ok());
  server.value()->Start();
  const auto post = [&](const std::string& body) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server.value()->port(0));
    ::inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    const std::string request =
        "POST /v1/completions HTTP/1.0\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    EXPECT_EQ(::send(fd, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
    return fd;
  };
  const auto read_all = [](int fd) {
    std::string text;
    char bytes[4096];
    for (ssize_t n; (n = ::recv(fd, bytes, sizeof(bytes), 0)) > 0;)
      text.append(bytes, static_cast<size_t>(n));
    ::close(fd);
    return text;
  };
  const std::string answer = read_all(post(R"({"model":"tiny","prompt":"a","stream":true})"));
  EXPECT_EQ(StreamText(Events({.headers = {}, .body = answer.substr(answer.find("\r\n\r\n") + 4)})),
            "hello from the server");
  EXPECT_NE(read_all(post("{")).find("400 Bad Request"), std::string::npos);

  const int fd = post(R"({"model":"tiny","prompt":"a","ignore_eos":true,"max_tokens":500})");
  for (int i = 0; i < 1000 && engine_->Stats().running_requests == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const auto start = std::chrono::steady_clock::now();
  ::close(fd);
  EXPECT_TRUE(WaitIdle());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(200));
  server.value()->Stop(std::chrono::milliseconds(500));
}

}  // namespace
}  // namespace phalanx
