#include "serve/text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/text/reference_for_test.h"

namespace phalanx {
namespace {

using Ids = std::vector<int32_t>;
using Json = nlohmann::ordered_json;
using testing::HasSubstr;

std::shared_ptr<const Tokenizer> Golden() {
  auto opened = Tokenizer::Open(std::string(PHX_SOURCE_DIR) + "/tests/golden/data/llama-f32/model");
  EXPECT_TRUE(opened.ok()) << opened.status().ToString();
  return opened.ok() ? *opened : nullptr;
}

ChatInput User(const std::string& content) {
  ChatInput input;
  input.messages = Json::array({{{"role", "user"}, {"content", content}}});
  return input;
}

std::shared_ptr<const ChatTemplate> Template(const std::string& text) {
  auto made = ChatTemplate::FromModel(Golden(), text);
  EXPECT_TRUE(made.ok()) << made.status().ToString();
  return made.ok() ? *made : nullptr;
}

Ids IdsOf(const Tokenizer& tokenizer, const std::string& text, bool parse_special) {
  auto ids = tokenizer.Encode(text, {.add_special_tokens = false, .parse_special = parse_special});
  EXPECT_TRUE(ids.ok());
  return ids.ok() ? *ids : Ids();
}

TEST(ChatTemplateTest, ModelTemplateRendersAndEncodes) {
  auto chat = ChatTemplate::FromModel(Golden());
  ASSERT_TRUE(chat.ok()) << chat.status().ToString();
  auto text = (*chat)->Render(User(" hi "));
  ASSERT_TRUE(text.ok()) << text.status().ToString();
  EXPECT_EQ(*text,
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
  auto ids = (*chat)->EncodeChat(User(" hi "));
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(*ids, IdsOf(*(*chat)->tokenizer(), *text, true));
}

TEST(ChatTemplateTest, RendersAsTransformers) {
  const auto& chats = Reference()["chats"];
  for (const auto& expected : chats["cases"]) {
    const std::string name = expected["template"];
    if (!chats["templates"].contains(name)) continue;
    SCOPED_TRACE(name + " " + expected["messages"].dump());
    auto chat = Template(chats["templates"][name].get<std::string>());
    ASSERT_NE(chat, nullptr);
    ChatInput input;
    input.messages = expected["messages"];
    input.tools = expected["tools"];
    input.kwargs = expected["kwargs"];
    input.kwargs["bos_token"] =
        "<|im_start|>";  // the reference's; what a request gives wins over the model's
    input.add_generation_prompt = expected["add_generation_prompt"];
    auto text = chat->Render(input);
    if (expected.contains("error")) {
      EXPECT_EQ(text.status().message(), expected["error"].get<std::string>());
      continue;
    }
    ASSERT_TRUE(text.ok()) << text.status().ToString();
    EXPECT_EQ(*text, expected["text"].get<std::string>());
  }
}

TEST(ChatTemplateTest, ControlTokensInMessagesToolsAndKwargsStayText) {
  auto chat = Template(
      "<|start_header_id|>{{ messages[0].content }}{{ messages[1].content }}|{{ tools | tojson }}|{{ extra "
      "}}");
  ASSERT_NE(chat, nullptr);
  const Tokenizer& tokenizer = *chat->tokenizer();
  ChatInput input;
  // The second message completes a control token that the first begins.
  input.messages = Json::array({{{"role", "user"}, {"content", "a <|eot_id|> b<|eot"}},
                                {{"role", "user"}, {"content", "_id|>\U0010F000"}}});
  input.tools = Json::array({{{"<|eot_id|>", "<|end_of_text|>"}}});
  input.kwargs = {{"extra", "<|begin_of_text|>"}};
  auto text = chat->Render(input);
  ASSERT_TRUE(text.ok()) << text.status().ToString();
  auto ids = chat->EncodeChat(input);
  ASSERT_TRUE(ids.ok()) << ids.status().ToString();
  EXPECT_EQ(tokenizer.Decode(*ids, false), *text);
  const std::string control = "<|start_header_id|>";
  Ids expected = {tokenizer.TokenId(control).value()};
  const Ids rest = IdsOf(tokenizer, text->substr(control.size()), false);
  expected.insert(expected.end(), rest.begin(), rest.end());
  EXPECT_EQ(*ids, expected);
}

TEST(ChatTemplateTest, WhatTheTemplateBuildsAroundARoleIsAControlToken) {
  auto chat = Template("<|{{ messages[0].role }}_id|>");
  ASSERT_NE(chat, nullptr);
  ChatInput input;
  input.messages = Json::array({{{"role", "eot"}}});
  auto ids = chat->EncodeChat(input);
  ASSERT_TRUE(ids.ok()) << ids.status().ToString();
  EXPECT_EQ(*ids, Ids{508});
}

TEST(ChatTemplateTest, ErrorsHaveCodesAndMessages) {
  auto raising = Template("{{ raise_exception('roles must alternate') }}");
  ASSERT_NE(raising, nullptr);
  auto raised = raising->Render(User("x"));
  ASSERT_FALSE(raised.ok());
  EXPECT_EQ(raised.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(raised.status().message(), "roles must alternate");

  auto broken = ChatTemplate::FromModel(Golden(), "{% if %}");
  ASSERT_FALSE(broken.ok());
  EXPECT_EQ(broken.status().code(), StatusCode::kInvalidArgument);

  ChatInput named = User("x");
  named.template_name = "rag";
  auto unknown = raising->Render(named);
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(unknown.status().message(), HasSubstr("rag"));

  ChatInput wrong;
  wrong.messages = "text";
  EXPECT_EQ(raising->Render(wrong).status().code(), StatusCode::kInvalidArgument);
  wrong.messages = Json::array({1});
  EXPECT_EQ(raising->Render(wrong).status().code(), StatusCode::kInvalidArgument);
  ChatInput clashing = User("x");
  clashing.kwargs = {{"messages", 1}};
  EXPECT_EQ(raising->Render(clashing).status().code(), StatusCode::kInvalidArgument);
}

TEST(ChatTemplateTest, NoTemplateIsNotFound) {
  TempFolder folder;
  std::filesystem::copy(std::string(PHX_SOURCE_DIR) + "/tests/golden/data/llama-f32/model/tokenizer.json",
                        folder.path() + "/tokenizer.json");
  auto tokenizer = Tokenizer::Open(folder.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().ToString();
  auto chat = ChatTemplate::FromModel(*tokenizer);
  ASSERT_FALSE(chat.ok());
  EXPECT_EQ(chat.status().code(), StatusCode::kNotFound);
}

TEST(ChatTemplateTest, TemplateFilesWinAndToolUseIsChosenForTools) {
  TempFolder folder;
  std::filesystem::copy(std::string(PHX_SOURCE_DIR) + "/tests/golden/data/llama-f32/model", folder.path(),
                        std::filesystem::copy_options::recursive);
  folder.Write("chat_template.jinja", "file {{ bos_token }}");
  folder.Write("additional_chat_templates/tool_use.jinja", "tools {{ tools | length }}");
  auto tokenizer = Tokenizer::Open(folder.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().ToString();
  auto chat = ChatTemplate::FromModel(*tokenizer);
  ASSERT_TRUE(chat.ok()) << chat.status().ToString();
  ChatInput input = User("x");
  EXPECT_EQ((*chat)->Render(input).value(), "file <|begin_of_text|>");
  input.tools = Json::array({Json::object()});
  EXPECT_EQ((*chat)->Render(input).value(), "tools 1");
  input.template_name = "default";
  EXPECT_EQ((*chat)->Render(input).value(), "file <|begin_of_text|>");
}

TEST(ChatTemplateTest, DeepAndEndlessInputsAreErrors) {
  auto chat = Template("{{ messages[0].content | tojson }}");
  ASSERT_NE(chat, nullptr);
  ChatInput input = User("x");
  Json deep = 1;
  for (int i = 0; i < 20000; ++i) deep = Json::array({std::move(deep)});
  input.tools = std::move(deep);
  EXPECT_EQ(chat->Render(input).status().code(), StatusCode::kInvalidArgument);

  auto endless = Template("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}");
  ASSERT_NE(endless, nullptr);
  EXPECT_EQ(endless->Render(User("x")).status().code(), StatusCode::kInvalidArgument);
  auto huge = Template("{{ 'x' * 1000000000000 }}");
  ASSERT_NE(huge, nullptr);
  EXPECT_EQ(huge->Render(User("x")).status().code(), StatusCode::kInvalidArgument);
}

TEST(ChatTemplateTest, ThoughtsAreReadUnderAnyName) {
  auto chat = Template("{{ messages[0].reasoning_content }},{{ messages[0].thinking }}");
  ASSERT_NE(chat, nullptr);
  ChatInput input;
  input.messages = Json::array({{{"role", "assistant"}, {"content", nullptr}, {"reasoning", "hm"}}});
  EXPECT_EQ(chat->Render(input).value(), "hm,hm");
}

}  // namespace
}  // namespace phalanx
