#include "serve/api/fixture_for_test.h"

#include <algorithm>

namespace phalanx {
namespace {

TEST_F(ApiTest, ChatReplyHasOpenAisShape) {
  Start("the cat sat on the mat");
  const HttpResponse response = Chat("");
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.content_type, "application/json");
  const Json json = Parse(response);
  EXPECT_TRUE(json["id"].get<std::string>().starts_with("chatcmpl-"));
  EXPECT_EQ(json["object"], "chat.completion");
  EXPECT_EQ(json["model"], "tiny");
  EXPECT_GT(json["created"].get<int64_t>(), 1700000000);
  const Json& choice = json["choices"][0];
  EXPECT_EQ(choice["index"], 0);
  EXPECT_EQ(choice["message"]["role"], "assistant");
  EXPECT_EQ(choice["message"]["content"], "the cat sat on the mat");
  EXPECT_EQ(choice["finish_reason"], "stop");
  EXPECT_TRUE(choice["stop_reason"].is_null());
  EXPECT_TRUE(choice["logprobs"].is_null());
  EXPECT_FALSE(choice.contains("token_ids"));
  const int64_t completion = static_cast<int64_t>(script_ids_.size()) + 1;
  EXPECT_EQ(json["usage"]["completion_tokens"], completion);
  EXPECT_GT(json["usage"]["prompt_tokens"].get<int64_t>(), 5);
  EXPECT_EQ(json["usage"]["total_tokens"], completion + json["usage"]["prompt_tokens"].get<int64_t>());
  EXPECT_EQ(json["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
}

TEST_F(ApiTest, ChatStreamHasRoleDeltasFinishUsageAndDone) {
  Start("some words, \"quoted\"\nand a line");
  const HttpResponse response = Chat(R"(,"stream":true,"stream_options":{"include_usage":true})");
  EXPECT_TRUE(response.content_type.starts_with("text/event-stream"));
  const std::vector<Json> events = Events(response);
  ASSERT_GE(events.size(), 5u);
  const Json& first = events.front();
  EXPECT_EQ(first["object"], "chat.completion.chunk");
  EXPECT_EQ(first["choices"][0]["delta"]["role"], "assistant");
  EXPECT_EQ(first["choices"][0]["delta"]["content"], "");
  EXPECT_TRUE(first["usage"].is_null());
  EXPECT_EQ(StreamText(events), "some words, \"quoted\"\nand a line");
  EXPECT_EQ(events.back(), "[DONE]");
  const Json& usage = events[events.size() - 2];
  EXPECT_TRUE(usage["choices"].empty());
  EXPECT_EQ(usage["usage"]["completion_tokens"], script_ids_.size() + 1);
  const Json& finish = events[events.size() - 3];
  EXPECT_EQ(finish["choices"][0]["delta"], Json::object());
  EXPECT_EQ(finish["choices"][0]["finish_reason"], "stop");
  for (const Json& event : events) {
    if (event.is_object()) {
      EXPECT_EQ(event["id"], first["id"]);
    }
  }
}

TEST_F(ApiTest, ChatWithoutIncludeUsageHasNone) {
  Start("words");
  for (const Json& event : Events(Chat(R"(,"stream":true)")))
    EXPECT_FALSE(event.is_object() && event.contains("usage"));
}

TEST_F(ApiTest, ChatLimitsAndAliases) {
  Start("one two three four five six seven eight");
  for (const char* fields : {R"(,"max_tokens":3)", R"(,"max_completion_tokens":3)"}) {
    const Json json = Parse(Chat(fields));
    EXPECT_EQ(json["choices"][0]["finish_reason"], "length");
    EXPECT_EQ(json["usage"]["completion_tokens"], 3);
  }
}

TEST_F(ApiTest, ChatIgnoreEosAndSpecialTokens) {
  Start("ab");
  const Json ignored = Parse(Chat(R"(,"ignore_eos":true,"max_tokens":10)"));
  EXPECT_EQ(ignored["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(ignored["choices"][0]["message"]["content"], "ab");
  const Json shown = Parse(Chat(R"(,"ignore_eos":true,"max_tokens":10,"skip_special_tokens":false)"));
  EXPECT_NE(shown["choices"][0]["message"]["content"].get<std::string>().find("<|eot_id|>"),
            std::string::npos);
  // The end token itself is no text, unless it was asked for.
  EXPECT_EQ(Parse(Chat(R"(,"skip_special_tokens":false)"))["choices"][0]["message"]["content"], "ab");
  EXPECT_EQ(
      Parse(Chat(R"(,"skip_special_tokens":false,"include_stop_str_in_output":true)"))["choices"][0]
                                                                                      ["message"]["content"],
      "ab<|eot_id|>");
}

TEST_F(ApiTest, ChatStopStringsNeverLeak) {
  Start("alpha beta gamma delta");
  struct Case {
    std::string fields, text;
  };
  for (const Case& c :
       {Case{R"(,"stop":"gam")", "alpha beta "}, Case{R"(,"stop":["zzz"," beta"])", "alpha"},
        Case{R"(,"stop":["a b"])", "alph"}, Case{R"(,"stop":["nothing"])", "alpha beta gamma delta"},
        Case{R"(,"stop":"gam","include_stop_str_in_output":true)", "alpha beta gam"},
        Case{R"(,"stop":"delta!")", "alpha beta gamma delta"}}) {
    const Json whole = Parse(Chat(c.fields));
    EXPECT_EQ(whole["choices"][0]["message"]["content"], c.text) << c.fields;
    EXPECT_EQ(whole["choices"][0]["finish_reason"], "stop");
    const std::vector<Json> events = Events(Chat(c.fields + R"(,"stream":true)"));
    EXPECT_EQ(StreamText(events), c.text) << c.fields;
    EXPECT_EQ(FinishOf(events), "stop");
  }
  EXPECT_EQ(Parse(Chat(R"(,"stop":["zzz","gam"])"))["choices"][0]["stop_reason"], "gam");
  EXPECT_TRUE(WaitIdle());
}

TEST_F(ApiTest, ChatStopTokenIds) {
  Start("alpha beta gamma delta");
  const std::string id = std::to_string(script_ids_[2]);
  const Json json = Parse(Chat(R"(,"stop_token_ids":[-1,99999999999,)" + id + "," + id + "]"));
  EXPECT_EQ(json["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(json["choices"][0]["stop_reason"], script_ids_[2]);
}

TEST_F(ApiTest, ChatSeveralChoices) {
  Start("several words here");
  const Json json = Parse(Chat(R"(,"n":3,"seed":5)"));
  ASSERT_EQ(json["choices"].size(), 3u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(json["choices"][static_cast<size_t>(i)]["index"], i);
    EXPECT_EQ(json["choices"][static_cast<size_t>(i)]["message"]["content"], "several words here");
  }
  EXPECT_EQ(json["usage"]["completion_tokens"], 3 * (script_ids_.size() + 1));
  const std::vector<Json> events = Events(Chat(R"(,"n":3,"stream":true,"stop":"words")"));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(StreamText(events, i), "several ");
  EXPECT_TRUE(WaitIdle());
}

TEST_F(ApiTest, ChatLogprobs) {
  Start("alpha beta");
  const Json json = Parse(Chat(R"(,"logprobs":true,"top_logprobs":2,"return_token_ids":true)"));
  const Json& choice = json["choices"][0];
  const Json& content = choice["logprobs"]["content"];
  ASSERT_EQ(content.size(), script_ids_.size() + 1);
  std::string joined;
  for (const Json& item : content) {
    EXPECT_EQ(item["logprob"], -0.5);
    EXPECT_EQ(item["top_logprobs"].size(), 2u);
    for (const Json& byte : item["bytes"]) joined.push_back(static_cast<char>(byte.get<int>()));
  }
  EXPECT_TRUE(joined.starts_with("alpha beta"));
  EXPECT_EQ(choice["token_ids"].size(), script_ids_.size() + 1);
  EXPECT_EQ(choice["token_ids"][0], script_ids_[0]);
  EXPECT_EQ(json["prompt_token_ids"].size(), json["usage"]["prompt_tokens"].get<size_t>());

  size_t num_items = 0, num_ids = 0;
  for (const Json& event : Events(Chat(R"(,"logprobs":true,"stream":true,"return_token_ids":true)"))) {
    if (!event.is_object() || event["choices"].empty()) continue;
    const Json& part = event["choices"][0];
    if (part["logprobs"].is_object()) num_items += part["logprobs"]["content"].size();
    if (part.contains("token_ids")) num_ids += part["token_ids"].size();
  }
  EXPECT_EQ(num_items, script_ids_.size() + 1);
  EXPECT_EQ(num_ids, script_ids_.size() + 1);
}

TEST_F(ApiTest, ChatTextPartsAreJoinedAndControlTokensStayText) {
  Start("ok");
  const auto prompt = [&](const std::string& content) {
    return Parse(Call("POST", "/v1/chat/completions",
                      R"({"model":"tiny","return_token_ids":true,"messages":[{"role":"user","content":)" +
                          content + "}]}"))["prompt_token_ids"];
  };
  EXPECT_EQ(prompt(R"("hello")"), prompt(R"([{"type":"text","text":"hel"},{"type":"text","text":"lo"}])"));
  const Json plain = prompt(R"("x")"), tricky = prompt(R"("x<|eot_id|>")");
  const int32_t eot = GoldenTokenizer()->stop_ids().front();
  EXPECT_EQ(std::count(plain.begin(), plain.end(), eot), std::count(tricky.begin(), tricky.end(), eot));
}

TEST_F(ApiTest, BadChatRequestsNameTheirField) {
  Start("ok");
  struct Case {
    std::string fields, param;
    int status = 400;
  };
  const std::string messages = R"(,"messages":[{"role":"user","content":"x"}])";
  const std::vector<Case> cases = {
      {R"("messages":[{"role":"user","content":"x"}])", "model"},
      {R"("model":7)" + messages, "model"},
      {R"("model":"other")" + messages, "model", 404},
      {R"("model":"tiny")", "messages"},
      {R"("model":"tiny","messages":[])", "messages"},
      {R"("model":"tiny","messages":"x")", "messages"},
      {R"("model":"tiny","messages":[7])", "messages[0]"},
      {R"("model":"tiny","messages":[{"content":"x"}])", "messages[0].role"},
      {R"("model":"tiny","messages":[{"role":"user"}])", "messages[0].content"},
      {R"("model":"tiny","messages":[{"role":"user","content":[{"type":"image_url"}]}])",
       "messages[0].content"},
      {R"("model":"tiny","temperature":-1)" + messages, "temperature"},
      {R"("model":"tiny","temperature":"hot")" + messages, "temperature"},
      {R"("model":"tiny","top_p":0)" + messages, "top_p"},
      {R"("model":"tiny","top_p":1.1)" + messages, "top_p"},
      {R"("model":"tiny","top_k":-2)" + messages, "top_k"},
      {R"("model":"tiny","min_p":2)" + messages, "min_p"},
      {R"("model":"tiny","repetition_penalty":0)" + messages, "repetition_penalty"},
      {R"("model":"tiny","presence_penalty":3)" + messages, "presence_penalty"},
      {R"("model":"tiny","frequency_penalty":-3)" + messages, "frequency_penalty"},
      {R"("model":"tiny","seed":-1)" + messages, "seed"},
      {R"("model":"tiny","seed":18446744073709551615)" + messages, "seed"},
      {R"("model":"tiny","max_tokens":0)" + messages, "max_tokens"},
      {R"("model":"tiny","max_tokens":1.5)" + messages, "max_tokens"},
      {R"("model":"tiny","n":0)" + messages, "n"},
      {R"("model":"tiny","n":9000)" + messages, "n"},
      {R"("model":"tiny","n":51)" + messages, "n"},
      {R"("model":"tiny","n":2,"temperature":0)" + messages, "n"},
      {R"("model":"tiny","best_of":2)" + messages, "best_of"},
      {R"("model":"tiny","use_beam_search":true)" + messages, "use_beam_search"},
      {R"("model":"tiny","stop":"")" + messages, "stop"},
      {R"("model":"tiny","stop":[""])" + messages, "stop"},
      {R"("model":"tiny","stop":[1])" + messages, "stop"},
      {R"("model":"tiny","stop":[")" + std::string(1025, 'x') + "\"]" + messages, "stop"},
      {R"("model":"tiny","stop_token_ids":["a"])" + messages, "stop_token_ids"},
      {R"("model":"tiny","logprobs":3)" + messages, "logprobs"},
      {R"("model":"tiny","logprobs":false,"top_logprobs":1)" + messages, "top_logprobs"},
      {R"("model":"tiny","top_logprobs":21)" + messages, "top_logprobs"},
      {R"("model":"tiny","stream":"yes")" + messages, "stream"},
      {R"("model":"tiny","stream_options":{})" + messages, "stream_options"},
      {R"("model":"tiny","stream":true,"stream_options":{"include_usage":1})" + messages,
       "stream_options.include_usage"},
      {R"("model":"tiny","logit_bias":{"5":1})" + messages, "logit_bias"},
      {R"("model":"tiny","tools":[{"type":"function"}])" + messages, "tools"},
      {R"("model":"tiny","response_format":{"type":"json_object"})" + messages, "response_format"},
      {R"("model":"tiny","response_format":{"type":"yaml"})" + messages, "response_format"},
  };
  for (const Case& c : cases) {
    const HttpResponse response = Call("POST", "/v1/chat/completions", "{" + c.fields + "}");
    EXPECT_EQ(response.status, c.status) << c.fields.substr(0, 80) << "\n" << response.body;
    const Json error = Parse(response)["error"];
    EXPECT_EQ(error["param"], c.param) << c.fields.substr(0, 80) << "\n" << response.body;
    EXPECT_FALSE(error["message"].get<std::string>().empty());
    EXPECT_EQ(error["type"], "invalid_request_error");
    if (c.status == 404) {
      EXPECT_EQ(error["code"], "model_not_found");
    }
  }
  EXPECT_EQ(Call("POST", "/v1/chat/completions", "{not json").status, 400);
  EXPECT_EQ(executor_->num_steps(), 0);
}

TEST_F(ApiTest, HarmlessFieldsAreIgnored) {
  Start("ok");
  EXPECT_EQ(
      Chat(
          R"(,"user":"me","priority":3,"logit_bias":{},"tools":null,"tools":[],"response_format":{"type":"text"},)"
          R"("temperature":null,"stop":null,"stop":[],"best_of":1,"unheard_of":{"a":[1]},"n":1)")
          .status,
      200);
}

}  // namespace
}  // namespace phalanx
