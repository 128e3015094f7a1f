#include "serve/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/text/detokenizer.h"
#include "serve/text/reference_for_test.h"

namespace phalanx {
namespace {

using Ids = std::vector<int32_t>;
using testing::ElementsAre;
using testing::HasSubstr;

std::string GoldenModel() {
  return std::string(PHX_SOURCE_DIR) + "/tests/golden/data/llama-f32/model";
}

std::shared_ptr<Tokenizer> Open(const std::string& path) {
  auto opened = Tokenizer::Open(path);
  EXPECT_TRUE(opened.ok()) << opened.status().ToString();
  return opened.ok() ? *opened : nullptr;
}

Ids Encode(const Tokenizer& tokenizer, const std::string& text, EncodeOptions options) {
  auto ids = tokenizer.Encode(text, options);
  EXPECT_TRUE(ids.ok()) << ids.status().ToString();
  return ids.ok() ? *ids : Ids();
}

// Pushed text is whole characters, and adds up to the decoding of the whole.
void ExpectStreamEqualsWhole(std::shared_ptr<const Tokenizer> tokenizer, const Ids& ids) {
  for (bool skip_special_tokens : {false, true}) {
    Detokenizer detokenizer(tokenizer, skip_special_tokens);
    std::string streamed;
    for (int32_t id : ids) {
      const std::string piece = detokenizer.Push(id);
      ASSERT_TRUE(piece.empty() || (piece[0] & 0xC0) != 0x80) << "a chunk begins inside a character";
      streamed += piece;
    }
    streamed += detokenizer.Flush();
    ASSERT_EQ(streamed, tokenizer->Decode(ids, skip_special_tokens));
  }
}

// The crossing vocabulary of the reference as a GGUF file with the given pre-tokenizer.
GgufBytes CrossingGguf(const std::string& pre) {
  const auto& crossing = Reference()["crossing"];
  auto tokens = crossing["tokens"].get<std::vector<std::string>>();
  std::vector<int32_t> types(tokens.size(), 1);
  for (const std::string control : crossing["control"]) {
    tokens.push_back(control);
    types.push_back(3);
  }
  GgufBytes gguf;
  gguf.Add("general.architecture", std::string("llama"))
      .Add("tokenizer.ggml.model", std::string("gpt2"))
      .Add("tokenizer.ggml.pre", pre)
      .Add("tokenizer.ggml.tokens", tokens)
      .Add("tokenizer.ggml.token_type", types)
      .Add("tokenizer.ggml.merges", crossing["merges"].get<std::vector<std::string>>())
      .Add("tokenizer.ggml.bos_token_id", 1500)
      .Add("tokenizer.ggml.eos_token_id", 1501)
      .Add("tokenizer.ggml.eot_token_id", 3);
  return gguf;
}

TEST(TokenizerTest, GoldenModelEncodesAsTheReference) {
  auto tokenizer = Open(GoldenModel());
  ASSERT_NE(tokenizer, nullptr);
  const auto strings = ReferenceStrings();
  const auto& reference = Reference()["llama-f32"];
  for (size_t i = 0; i < strings.size(); ++i) {
    const Ids special = reference["special"][i].get<Ids>();
    EXPECT_EQ(Encode(*tokenizer, strings[i], {.add_special_tokens = false, .parse_special = true}), special);
    const std::string key = std::to_string(i);
    const Ids plain = reference["plain"].contains(key) ? reference["plain"][key].get<Ids>() : special;
    EXPECT_EQ(Encode(*tokenizer, strings[i], {.add_special_tokens = false, .parse_special = false}), plain);
    EXPECT_EQ(tokenizer->Decode(plain, false), strings[i]);
    ExpectStreamEqualsWhole(tokenizer, special);
  }
}

TEST(TokenizerTest, DirectoryTellsSpecialIds) {
  auto tokenizer = Open(GoldenModel());
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->vocab_size(), 512);
  EXPECT_EQ(tokenizer->bos_id(), 507);
  EXPECT_THAT(tokenizer->stop_ids(), ElementsAre(508));
  EXPECT_TRUE(tokenizer->IsSpecial(508));
  EXPECT_EQ(tokenizer->TokenText(508), "<|eot_id|>");
  EXPECT_EQ(tokenizer->Decode(Ids{507, 39, 508}, true), "H");
  EXPECT_EQ(tokenizer->Decode(Ids{39, 508}, false), "H<|eot_id|>");
  EXPECT_EQ(Encode(*tokenizer, "H", {}), (Ids{507, 39}));
  EXPECT_EQ(Encode(*tokenizer, "", {}), (Ids{507}));
  // Ids that no token has: rows of padding, or nonsense.
  for (int32_t id : {-1, 512, 1 << 30}) {
    EXPECT_EQ(tokenizer->TokenText(id), "");
    EXPECT_EQ(tokenizer->TokenBytes(id), "");
    EXPECT_FALSE(tokenizer->IsSpecial(id));
    EXPECT_EQ(tokenizer->Decode(Ids{39, id, 39}, false), "HH");
  }
}

TEST(TokenizerTest, StopIdsAreTheUnionOfAllFiles) {
  TempFolder folder;
  std::filesystem::copy(GoldenModel() + "/tokenizer.json", folder.path() + "/tokenizer.json");
  folder.Write("tokenizer_config.json", R"({"eos_token": {"content": "<|eot_id|>"}, "bos_token": null})");
  folder.Write("generation_config.json", R"({"eos_token_id": [511, 508, 7]})");
  folder.Write("config.json", R"({"eos_token_id": 9})");
  auto tokenizer = Open(folder.path());
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(tokenizer->stop_ids(), ElementsAre(7, 9, 508, 511));
  EXPECT_EQ(tokenizer->bos_id(), std::nullopt);
  EXPECT_FALSE(tokenizer->has_chat_template());
}

TEST(TokenizerTest, GgufPreTokenizersSplitAsTheReference) {
  TempFolder folder;
  const auto strings = ReferenceStrings();
  const auto& crossing = Reference()["crossing"];
  for (const auto& [pre, expected] : crossing["ids"].items()) {
    SCOPED_TRACE(pre);
    auto tokenizer = Open(folder.Write(pre + ".gguf", CrossingGguf(pre).Finish()));
    ASSERT_NE(tokenizer, nullptr);
    for (size_t i = 0; i < expected.size(); ++i) {
      const std::string& text = strings[crossing["strings"][i].get<size_t>()];
      const Ids ids = Encode(*tokenizer, text, {.add_special_tokens = false, .parse_special = true});
      EXPECT_EQ(ids, expected[i].get<Ids>()) << text;
      ExpectStreamEqualsWhole(tokenizer, ids);
    }
    const bool adds_bos = pre == "llama-bpe" || pre == "tekken";
    EXPECT_EQ(Encode(*tokenizer, "", {}), adds_bos ? Ids{1500} : Ids{});
    EXPECT_THAT(tokenizer->stop_ids(), ElementsAre(3, 1501));
  }
}

TEST(TokenizerTest, GgufAddsBosAndEosIfToldTo) {
  TempFolder folder;
  GgufBytes gguf = CrossingGguf("gpt-2");
  gguf.Add("tokenizer.ggml.add_bos_token", true).Add("tokenizer.ggml.add_eos_token", true);
  auto tokenizer = Open(folder.Write("a.gguf", gguf.Finish()));
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(Encode(*tokenizer, "", {}), (Ids{1500, 1501}));
  EXPECT_EQ(Encode(*tokenizer, "", {.add_special_tokens = false}), Ids());
}

TEST(TokenizerTest, UnknownPreTokenizerIsRefusedUnlessTokenizerJsonAgrees) {
  TempFolder folder;
  GgufBytes gguf = CrossingGguf("made-up");
  const std::string path = folder.Write("a.gguf", gguf.Add("tokenizer.ggml.add_bos_token", true).Finish());
  auto refused = Tokenizer::Open(path);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), StatusCode::kUnimplemented);
  EXPECT_THAT(refused.status().message(), HasSubstr("tokenizer.ggml.pre is \"made-up\""));

  // One that has another vocabulary changes nothing.
  std::filesystem::copy(GoldenModel() + "/tokenizer.json", folder.path() + "/tokenizer.json");
  EXPECT_FALSE(Tokenizer::Open(path).ok());

  std::filesystem::remove(folder.path() + "/tokenizer.json");
  const auto& crossing = Reference()["crossing"];
  nlohmann::json vocab = nlohmann::json::object();
  for (const std::string token : crossing["tokens"]) vocab.emplace(token, vocab.size());
  nlohmann::json added = nlohmann::json::array();
  for (const std::string token : crossing["control"]) {
    added.push_back({{"id", vocab.size() + added.size()},
                     {"content", token},
                     {"special", true},
                     {"normalized", false},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false}});
  }
  const nlohmann::json bytes_only = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const nlohmann::json adds_bos = {
      {"type", "TemplateProcessing"},
      {"single",
       {{{"SpecialToken", {{"id", "<|im_start|>"}, {"type_id", 0}}}},
        {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
      {"pair", nlohmann::json::array()},
      {"special_tokens",
       {{"<|im_start|>", {{"id", "<|im_start|>"}, {"ids", {1500}}, {"tokens", {"<|im_start|>"}}}}}}};
  const nlohmann::json json = {
      {"version", "1.0"},
      {"post_processor", adds_bos},
      {"added_tokens", added},
      {"pre_tokenizer", bytes_only},
      {"decoder", bytes_only},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", crossing["merges"]}}}};
  folder.Write("tokenizer.json", json.dump());
  auto tokenizer = Open(path);
  ASSERT_NE(tokenizer, nullptr);
  const std::string text = ReferenceStrings()[crossing["strings"][30].get<size_t>()];
  const Ids expected = crossing["ids"]["gpt-2"][30].get<Ids>();
  EXPECT_EQ(Encode(*tokenizer, text, {.add_special_tokens = false, .parse_special = true}), expected);
  EXPECT_EQ(Encode(*tokenizer, "", {}), Ids{1500}) << "once, by tokenizer.json";
}

TEST(TokenizerTest, SentencePieceOfGgufEncodesAsSentencePiece) {
  TempFolder folder;
  const auto& reference = Reference()["sentencepiece"];
  GgufBytes gguf;
  gguf.Add("tokenizer.ggml.model", std::string("llama"))
      .Add("tokenizer.ggml.tokens", reference["tokens"].get<std::vector<std::string>>())
      .Add("tokenizer.ggml.scores", reference["scores"].get<std::vector<float>>())
      .Add("tokenizer.ggml.token_type", reference["types"].get<Ids>())
      .Add("tokenizer.ggml.unknown_token_id", 0)
      .Add("tokenizer.ggml.bos_token_id", 1)
      .Add("tokenizer.ggml.eos_token_id", 2);
  auto tokenizer = Open(folder.Write("a.gguf", gguf.Finish()));
  ASSERT_NE(tokenizer, nullptr);
  const auto strings = ReferenceStrings();
  for (size_t i = 0; i < strings.size(); ++i) {
    const Ids ids = reference["ids"][i].get<Ids>();
    EXPECT_EQ(Encode(*tokenizer, strings[i], {.add_special_tokens = false}), ids) << strings[i];
    EXPECT_EQ(tokenizer->Decode(ids, false), reference["texts"][i].get<std::string>());
    ExpectStreamEqualsWhole(tokenizer, ids);
  }
  EXPECT_EQ(Encode(*tokenizer, "", {}), Ids{1});
  EXPECT_EQ(tokenizer->Decode(Ids{1, 2, 3}, true), "");
  // User-defined tokens are text for a reader.
  EXPECT_EQ(tokenizer->Decode(Ids{4}, true), "<tool>");
}

TEST(TokenizerTest, BrokenBytesBecomeReplacementCharacters) {
  auto tokenizer = Open(GoldenModel());
  ASSERT_NE(tokenizer, nullptr);
  const auto byte = [&](const char* text) { return tokenizer->TokenId(text).value(); };
  const int32_t e2 = byte("\u00e2"), lead = byte("\u00f0"), follow = byte("\u00a2"), letter = byte("H");
  const Ids ids = {letter, e2, letter, follow, lead, follow, letter, e2, follow};
  EXPECT_EQ(tokenizer->Decode(ids, false), "H\uFFFDH\uFFFD\uFFFDH\uFFFD");
  ExpectStreamEqualsWhole(tokenizer, ids);
  EXPECT_EQ(tokenizer->TokenBytes(e2), "\xe2");
}

TEST(TokenizerTest, TextThatIsNotUtf8IsRefused) {
  auto tokenizer = Open(GoldenModel());
  ASSERT_NE(tokenizer, nullptr);
  auto ids = tokenizer->Encode("a\xff");
  ASSERT_FALSE(ids.ok());
  EXPECT_EQ(ids.status().code(), StatusCode::kInvalidArgument);
}

TEST(TokenizerTest, MissingAndDamagedFilesAreErrors) {
  TempFolder folder;
  EXPECT_EQ(Tokenizer::Open(folder.path() + "/none").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Tokenizer::Open(folder.path()).status().code(), StatusCode::kNotFound);
  folder.Write("tokenizer.json", "{\"model\": ");
  EXPECT_EQ(Tokenizer::Open(folder.path()).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Tokenizer::Open(folder.Write("a.bin", "x")).status().code(), StatusCode::kInvalidArgument);
}

TEST(TokenizerTest, EveryTruncationOfAGgufIsAnError) {
  TempFolder folder;
  std::filesystem::remove(folder.path() + "/tokenizer.json");
  const std::string whole = CrossingGguf("gpt-2").Finish();
  for (size_t size = 0; size < whole.size(); size += 1 + size / 16) {
    EXPECT_FALSE(Tokenizer::Open(folder.Write("a.gguf", whole.substr(0, size))).ok()) << size;
  }
}

TEST(TokenizerTest, DamagedGgufNeverCrashes) {
  TempFolder folder;
  const std::string whole = CrossingGguf("gpt-2").Finish();
  uint32_t random = 1;
  for (int round = 0; round < 150; ++round) {
    std::string bytes = whole;
    for (int i = 0; i < 3; ++i) {
      random = random * 1664525 + 1013904223;
      // Mostly the header and the keys, where the lengths are.
      const size_t at = (random >> 8) % (round % 2 == 0 ? 400 : bytes.size());
      bytes[at] = static_cast<char>(random >> 3);
    }
    auto opened = Tokenizer::Open(folder.Write("a.gguf", bytes));
    if (opened.ok()) static_cast<void>((*opened)->Encode("some text"));
  }
}

}  // namespace
}  // namespace phalanx
