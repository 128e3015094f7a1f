#include "serve/api/json_writer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "serve/api/body_fields.h"

namespace phalanx {
namespace {

TEST(JsonWriterTest, EscapesEveryByteSoThatAParserReadsItBack) {
  std::string text = "plain \"quoted\" back\\slash \n\r\t \xe2\x82\xac \xf0\x9f\x98\x80";
  for (char c = 0; c < 0x20; ++c) text.push_back(c);
  text.push_back(0x7f);
  std::string out;
  AppendJsonString(text, &out);
  const auto json = ParseJson(out);
  ASSERT_TRUE(json.ok()) << out;
  EXPECT_EQ(json->get<std::string>(), text);
}

TEST(JsonWriterTest, WhatIsNoUtf8IsReplaced) {
  EXPECT_EQ(ToUtf8("a\xe2\x82\xac\xf0\x9f\x98\x80"), "a\xe2\x82\xac\xf0\x9f\x98\x80");
  EXPECT_EQ(ToUtf8("\xff"
                   "a\xe2\x82"),
            "\xef\xbf\xbd"
            "a\xef\xbf\xbd\xef\xbf\xbd");
  for (const char* bad : {"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe0\x80\x80"}) {
    EXPECT_NE(ToUtf8(bad), bad);
  }
}

TEST(JsonWriterTest, NumbersReadBack) {
  for (const float value : {0.0f, -0.5f, -1.17549435e-38f, -123.456f, -1e-7f, -3.4e38f}) {
    std::string out;
    AppendLogprob(value, &out);
    EXPECT_EQ(ParseJson(out)->get<float>(), value) << out;
  }
  for (const float value : {-INFINITY, NAN}) {
    std::string out;
    AppendLogprob(value, &out);
    EXPECT_EQ(out, "-9999.0");
  }
  std::string out;
  AppendIntList(std::vector<int32_t>{1, -2, 3}, &out);
  EXPECT_EQ(out, "[1,-2,3]");
}

TEST(BodyFieldsTest, BodiesThatAreRefused) {
  std::string wide = "{";
  for (int i = 0; i < 3000; ++i) wide += "\"k" + std::to_string(i) + "\":0,";
  wide += "\"k\":0}";
  for (const std::string& body :
       {std::string(""), std::string("{"), std::string("[]"), std::string("null"), std::string("{\"a\":1,}"),
        std::string("{\"a\":\"\xff\"}"), std::string("{\"a\":\"\\ud800\"}"), std::string("{\"a\":1e999}"),
        std::string(100000, '['), "{\"a\":" + std::string(11, '[') + std::string(11, ']') + "}", wide}) {
    EXPECT_EQ(ParseBody(body, 10).status().code(), StatusCode::kInvalidArgument) << body.substr(0, 40);
  }
  EXPECT_TRUE(ParseBody("{\"a\":[[[[{\"b\":\"{{{{{{{{{{{{[[[[[\"}]]]]}", 10).ok());
}

TEST(BodyFieldsTest, Utf16Length) {
  EXPECT_EQ(Utf16Length("abc"), 3u);
  EXPECT_EQ(Utf16Length("\xe2\x82\xac"), 1u);
  EXPECT_EQ(Utf16Length("\xf0\x9f\x98\x80"), 2u);
}

}  // namespace
}  // namespace phalanx
