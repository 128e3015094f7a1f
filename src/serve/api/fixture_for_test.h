#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/json.h"
#include "serve/api/api_context.h"
#include "serve/api/api_metrics.h"
#include "serve/api/endpoint_table.h"
#include "serve/engine/engine.h"
#include "testing/fake_executor.h"

namespace phalanx {

// Keeps what an endpoint writes; stands in for a connection.
class RecordingWriter : public EventWriter {
 public:
  void Respond(HttpResponse response) override { Set(std::move(response), true); }
  void Begin(HttpResponse head) override { Set(std::move(head), false); }
  void Write(std::string_view bytes) override {
    std::lock_guard lock(mutex_);
    response_.body.append(bytes);
    ++num_writes_;
    changed_.notify_all();
  }
  void End() override {
    std::lock_guard lock(mutex_);
    complete_ = true;
    changed_.notify_all();
  }
  void OnCancel(std::function<void()> callback) override {
    std::lock_guard lock(mutex_);
    on_cancel_ = std::move(callback);
  }

  void Cancel() {
    std::function<void()> callback;
    {
      std::lock_guard lock(mutex_);
      callback = on_cancel_;
    }
    if (callback) callback();
  }
  // The answer when it is complete; status 0 if it took too long.
  HttpResponse Wait() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(20), [this] { return complete_; }))
      response_.status = 0;
    return response_;
  }
  bool WaitWrites(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return num_writes_ >= count; });
  }

 private:
  void Set(HttpResponse response, bool complete) {
    std::lock_guard lock(mutex_);
    EXPECT_FALSE(answered_) << "answered twice";
    answered_ = true;
    complete_ = complete;
    response_ = std::move(response);
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  HttpResponse response_;
  std::function<void()> on_cancel_;
  bool answered_ = false, complete_ = false;
  int num_writes_ = 0;
};

// Endpoints over a real Engine, a fake executor and the golden model's tokenizer, without a socket. The fake model says
// `script`, a text, token by token and then the end token.
class ApiTest : public ::testing::Test {
 protected:
  static std::shared_ptr<const Tokenizer> GoldenTokenizer() {
    static const std::shared_ptr<const Tokenizer> tokenizer =
        Tokenizer::Open(std::string(PHX_SOURCE_DIR) + "/tests/golden/data/llama-f32/model").value();
    return tokenizer;
  }

  void Start(const std::string& script, FakeExecutorOptions options = {}, EngineOptions engine_options = {}) {
    const auto tokenizer = GoldenTokenizer();
    script_ids_ = tokenizer->Encode(script, {.add_special_tokens = false, .parse_special = false}).value();
    std::vector<int32_t> ids = script_ids_;
    ids.push_back(tokenizer->stop_ids().front());
    options.facts.vocab_size = tokenizer->vocab_size();
    if (!options.model) options.model = ScriptModel(ids);
    executor_ = std::make_unique<FakeExecutor>(options);
    engine_ = std::make_unique<Engine>(engine_options, executor_.get());
    engine_->Start();
    metrics_ = std::make_unique<ApiMetrics>("tiny");
    context_.engine = engine_.get();
    context_.tokenizer = tokenizer;
    context_.chat_template = ChatTemplate::FromModel(tokenizer).value();
    context_.model_name = "tiny";
    context_.created = 1700000000;
    context_.metrics = metrics_.get();
    context_.started = true;
  }

  void TearDown() override { engine_.reset(); }

  std::shared_ptr<RecordingWriter> Send(const std::string& method, const std::string& path,
                                        const std::string& body,
                                        std::vector<std::pair<std::string, std::string>> headers = {}) {
    auto writer = std::make_shared<RecordingWriter>();
    for (const ApiPlane plane : {kBusinessPlane, kManagementPlane, kMetricsPlane}) {
      const auto router = MakeRouter(plane, context_);
      const Router::Match match = router->Find(method, path);
      if (match.handler == nullptr) continue;
      HttpRequest request{.method = method,
                          .path = path,
                          .query = {},
                          .param = match.param,
                          .headers = std::move(headers),
                          .body = body};
      (*match.handler)(std::move(request), writer);
      return writer;
    }
    ADD_FAILURE() << "no route " << path;
    return writer;
  }
  HttpResponse Call(const std::string& method, const std::string& path, const std::string& body = "",
                    std::vector<std::pair<std::string, std::string>> headers = {}) {
    return Send(method, path, body, std::move(headers))->Wait();
  }
  HttpResponse Chat(const std::string& fields) {
    return Call("POST", "/v1/chat/completions",
                R"({"model":"tiny","messages":[{"role":"user","content":"hello"}])" + fields + "}");
  }
  HttpResponse Complete(const std::string& fields) {
    return Call("POST", "/v1/completions", R"({"model":"tiny")" + fields + "}");
  }

  static Json Parse(const HttpResponse& response) {
    auto json = ParseJson(response.body);
    EXPECT_TRUE(json.ok()) << response.body;
    return json.ok() ? std::move(json).value() : Json();
  }
  // The data of each event; "[DONE]" as a JSON string.
  static std::vector<Json> Events(const HttpResponse& response) {
    std::vector<Json> events;
    std::string_view rest = response.body;
    while (!rest.empty()) {
      const size_t end = rest.find("\n\n");
      EXPECT_TRUE(rest.starts_with("data: ") && end != std::string_view::npos) << rest;
      if (!rest.starts_with("data: ") || end == std::string_view::npos) break;
      const std::string_view data = rest.substr(6, end - 6);
      if (data == "[DONE]") {
        events.emplace_back("[DONE]");
      } else {
        auto json = ParseJson(data);
        EXPECT_TRUE(json.ok()) << data;
        if (json.ok()) events.push_back(std::move(json).value());
      }
      rest.remove_prefix(end + 2);
    }
    return events;
  }
  // The text of choice `index` in a stream of either endpoint.
  static std::string StreamText(const std::vector<Json>& events, int index = 0) {
    std::string text;
    for (const Json& event : events) {
      if (!event.is_object()) continue;
      for (const Json& choice : event["choices"]) {
        if (choice["index"] != index) continue;
        if (choice.contains("text")) text += choice["text"].get<std::string>();
        if (choice.contains("delta")) text += choice["delta"].value("content", "");
      }
    }
    return text;
  }
  static std::string FinishOf(const std::vector<Json>& events, int index = 0) {
    for (const Json& event : events) {
      if (!event.is_object()) continue;
      for (const Json& choice : event["choices"]) {
        if (choice["index"] == index && choice["finish_reason"].is_string()) return choice["finish_reason"];
      }
    }
    return "";
  }

  bool WaitIdle() {
    for (int i = 0; i < 2000; ++i) {
      const EngineStats stats = engine_->Stats();
      if (stats.running_requests + stats.queued_requests == 0 && executor_->num_in_flight() == 0) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  }

  std::vector<int32_t> script_ids_;
  std::unique_ptr<FakeExecutor> executor_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ApiMetrics> metrics_;
  ApiContext context_;
};

}  // namespace phalanx
