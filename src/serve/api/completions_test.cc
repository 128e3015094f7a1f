#include "serve/api/fixture_for_test.h"

namespace phalanx {
namespace {

TEST_F(ApiTest, CompletionReplyHasOpenAisShape) {
  Start("the cat sat");
  const Json json = Parse(Complete(R"(,"prompt":"once upon")"));
  EXPECT_TRUE(json["id"].get<std::string>().starts_with("cmpl-"));
  EXPECT_EQ(json["object"], "text_completion");
  EXPECT_EQ(json["choices"][0]["text"], "the cat sat");
  EXPECT_EQ(json["choices"][0]["finish_reason"], "stop");
  EXPECT_TRUE(json["choices"][0]["logprobs"].is_null());
  EXPECT_EQ(json["usage"]["completion_tokens"], script_ids_.size() + 1);
}

TEST_F(ApiTest, CompletionStream) {
  Start("the cat sat");
  const std::vector<Json> events =
      Events(Complete(R"(,"prompt":"once","stream":true,"stream_options":{"include_usage":true})"));
  EXPECT_EQ(StreamText(events), "the cat sat");
  EXPECT_EQ(FinishOf(events), "stop");
  EXPECT_EQ(events.back(), "[DONE]");
  EXPECT_EQ(events[events.size() - 2]["usage"]["completion_tokens"], script_ids_.size() + 1);
  EXPECT_EQ(events.front()["object"], "text_completion");
}

TEST_F(ApiTest, CompletionTakesEveryFormOfPrompt) {
  Start("xyz");
  const auto ids = GoldenTokenizer()->Encode("hello").value();
  const std::string list = Json(ids).dump();
  const Json from_text = Parse(Complete(R"(,"prompt":"hello","return_token_ids":true)"));
  const Json from_ids = Parse(Complete(R"(,"return_token_ids":true,"prompt":)" + list));
  EXPECT_EQ(from_text["choices"][0]["prompt_token_ids"], Json(ids));
  EXPECT_EQ(from_ids["choices"][0]["prompt_token_ids"], Json(ids));
  const Json texts = Parse(Complete(R"(,"prompt":["hello","hello there"],"n":2)"));
  ASSERT_EQ(texts["choices"].size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(texts["choices"][i]["index"], i);
  const Json lists = Parse(Complete(R"(,"return_token_ids":true,"prompt":[)" + list + ",[1,2,3]]"));
  ASSERT_EQ(lists["choices"].size(), 2u);
  EXPECT_EQ(lists["choices"][1]["prompt_token_ids"], Json({1, 2, 3}));
  EXPECT_EQ(lists["usage"]["prompt_tokens"], ids.size() + 3);
  const std::vector<Json> events = Events(Complete(R"(,"stream":true,"prompt":["a","b","c"])"));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(StreamText(events, i), "xyz");
}

TEST_F(ApiTest, CompletionLogprobs) {
  Start("alpha beta");
  const Json json = Parse(Complete(R"(,"prompt":"x","logprobs":2)"));
  const Json& logprobs = json["choices"][0]["logprobs"];
  const size_t count = script_ids_.size() + 1;
  ASSERT_EQ(logprobs["tokens"].size(), count);
  ASSERT_EQ(logprobs["token_logprobs"].size(), count);
  ASSERT_EQ(logprobs["top_logprobs"].size(), count);
  ASSERT_EQ(logprobs["text_offset"].size(), count);
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    EXPECT_EQ(logprobs["text_offset"][i], text.size());
    text += logprobs["tokens"][i].get<std::string>();
    EXPECT_TRUE(logprobs["top_logprobs"][i].contains(logprobs["tokens"][i].get<std::string>()));
  }
  EXPECT_TRUE(text.starts_with("alpha beta"));
}

TEST_F(ApiTest, CompletionLogprobsOffsetsGoOnAcrossChunks) {
  Start("alpha beta gamma");
  std::vector<size_t> offsets;
  std::string text;
  for (const Json& event : Events(Complete(R"(,"prompt":"x","logprobs":0,"stream":true)"))) {
    if (!event.is_object() || !event["choices"][0]["logprobs"].is_object()) continue;
    const Json& logprobs = event["choices"][0]["logprobs"];
    for (size_t i = 0; i < logprobs["tokens"].size(); ++i) {
      EXPECT_EQ(logprobs["text_offset"][i], text.size());
      text += logprobs["tokens"][i].get<std::string>();
    }
  }
  EXPECT_TRUE(text.starts_with("alpha beta gamma"));
}

TEST_F(ApiTest, EchoGivesThePromptAndItsLogprobs) {
  Start("answer");
  EXPECT_EQ(Parse(Complete(R"(,"prompt":"question ","echo":true)"))["choices"][0]["text"], "question answer");
  EXPECT_EQ(StreamText(Events(Complete(R"(,"prompt":"question ","echo":true,"stream":true)"))),
            "question answer");
  const auto ids = GoldenTokenizer()->Encode("question ").value();
  for (const int max_tokens : {0, 3}) {
    const Json json = Parse(Complete(R"(,"prompt":"question ","echo":true,"logprobs":1,"max_tokens":)" +
                                     std::to_string(max_tokens)));
    const Json& logprobs = json["choices"][0]["logprobs"];
    const size_t count = ids.size() + static_cast<size_t>(json["usage"]["completion_tokens"].get<int>());
    ASSERT_EQ(logprobs["tokens"].size(), count) << json.dump();
    EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
    EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
    for (size_t i = 1; i < count; ++i) EXPECT_EQ(logprobs["token_logprobs"][i], -0.5);
    if (max_tokens == 0) {
      EXPECT_EQ(json["usage"]["completion_tokens"], 0);
      EXPECT_EQ(json["choices"][0]["finish_reason"], "length");
    }
  }
  const Json none = Parse(Complete(R"(,"prompt":["a","b"],"echo":true,"max_tokens":0)"));
  EXPECT_EQ(none["choices"][0]["text"], "a");
  EXPECT_EQ(none["choices"][1]["text"], "b");
  const Json several = Parse(Complete(R"(,"prompt":"question ","echo":true,"logprobs":1,"n":3)"));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(several["choices"][i]["text"], "question answer");
    EXPECT_EQ(several["choices"][i]["logprobs"]["tokens"].size(), ids.size() + script_ids_.size() + 1);
  }
}

TEST_F(ApiTest, BadCompletionRequestsNameTheirField) {
  EngineOptions options;
  options.max_input_tokens = 64;
  Start("ok", {}, options);
  const std::string long_list = "[" + [] {
    std::string ids = "1";
    for (int i = 0; i < 100; ++i) ids += ",1";
    return ids;
  }() + "]";
  for (const auto& [fields, param] : std::vector<std::pair<std::string, std::string>>{
           {"", "prompt"},
           {R"(,"prompt":7)", "prompt"},
           {R"(,"prompt":[])", "prompt"},
           {R"(,"prompt":[[]])", "prompt"},
           {R"(,"prompt":["a",[1]],"prompt":["a",true])", "prompt"},
           {R"(,"prompt":[1,"a"])", "prompt"},
           {R"(,"prompt":[-1])", "prompt"},
           {R"(,"prompt":[100000])", "prompt"},
           {R"(,"prompt":[99999999999999999999])", "prompt"},
           {R"(,"prompt":)" + long_list, "prompt"},
           {R"(,"prompt":"a","logprobs":6)", "logprobs"},
           {R"(,"prompt":"a","logprobs":true)", "logprobs"},
           {R"(,"prompt":"a","max_tokens":0)", "max_tokens"},
           {R"(,"prompt":"a","suffix":"b")", "suffix"},
           {R"(,"prompt":"a","echo":1)", "echo"}}) {
    const HttpResponse response = Complete(fields);
    EXPECT_EQ(response.status, 400) << fields << response.body;
    EXPECT_EQ(Parse(response)["error"]["param"], param) << fields << response.body;
  }
  EXPECT_EQ(Parse(Complete(R"(,"prompt":)" + long_list))["error"]["code"], "context_length_exceeded");
  // One bad prompt of a list refuses the request and leaves nothing behind.
  EXPECT_EQ(Complete(R"(,"stream":true,"prompt":[[1,2],[3],)" + long_list + "]").status, 400);
  EXPECT_TRUE(WaitIdle());
  context_.limits.truncation = 1;
  EXPECT_EQ(Complete(R"(,"prompt":)" + long_list).status, 200);
}

}  // namespace
}  // namespace phalanx
