// Checkpoints are untrusted input: whatever is damaged must end in a Status that names file and reason, never in a crash.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "base/file.h"
#include "base/json.h"
#include "compute/weights/weight_store.h"

namespace phalanx {
namespace {

namespace fs = std::filesystem;

const fs::path kGolden = fs::path(PHX_SOURCE_DIR) / "tests/golden/data";

std::string Read(const fs::path& path) {
  Result<std::string> text = ReadFile(path.string());
  CHECK(text.ok());
  return *text;
}

// Opens the checkpoint and, if that works, packs all of it.
Status OpenAndPack(const fs::path& path) {
  Result<std::unique_ptr<WeightStore>> store = WeightStore::Open(path.string());
  if (!store.ok()) return store.status();
  std::unique_ptr<void, void (*)(void*)> segment(std::aligned_alloc(64, (*store)->packed_bytes()), std::free);
  for (int task = 0; task < (*store)->num_tasks(); ++task) {
    RETURN_IF_ERROR((*store)->RunTask(task, static_cast<std::byte*>(segment.get())));
  }
  return Status::Ok();
}

class CheckpointTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              ("phx_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()) +
               std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void Write(const std::string& name, std::string_view bytes) const {
    std::ofstream file(folder_ / name, std::ios::binary | std::ios::trunc);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  // A copy of a golden Hugging Face model, to be spoilt.
  void CopyModel(const std::string& name) const {
    for (const fs::directory_entry& file : fs::directory_iterator(kGolden / name / "model")) {
      if (file.path().filename().string().starts_with("tokenizer")) continue;
      Write(file.path().filename().string(), Read(file.path()));
    }
  }
  void ChangeJson(const std::string& name, const std::function<void(Json&)>& change) const {
    Result<Json> json = ParseJson(Read(folder_ / name));
    CHECK(json.ok());
    change(*json);
    Write(name, DumpJson(*json));
  }
  // Replaces the only occurrence of `from` by `to` of the same length.
  static std::string Replaced(std::string bytes, const std::string& from, const std::string& to) {
    const size_t at = bytes.find(from);
    CHECK(at != std::string::npos && from.size() == to.size());
    return bytes.replace(at, from.size(), to);
  }
  void ExpectRefusal(const fs::path& path, StatusCode code, const std::vector<std::string>& words) const {
    const Status status = OpenAndPack(path);
    EXPECT_EQ(status.code(), code) << status.ToString();
    for (const std::string& word : words)
      EXPECT_NE(status.message().find(word), std::string::npos) << word << " in: " << status.ToString();
  }

  fs::path folder_;
};

TEST_F(CheckpointTest, TruncatedGgufIsRefusedAtEveryLength) {
  const std::string good = Read(kGolden / "gguf-q4_1/model.gguf");
  ASSERT_TRUE(OpenAndPack(kGolden / "gguf-q4_1/model.gguf").ok());
  for (size_t length = 0; length < good.size(); length += length < 4096 ? 7 : 4099) {
    Write("model.gguf", std::string_view(good).substr(0, length));
    const Status status = OpenAndPack(folder_ / "model.gguf");
    ASSERT_FALSE(status.ok()) << length;
    EXPECT_NE(status.message().find("model.gguf"), std::string::npos) << status.ToString();
  }
}

TEST_F(CheckpointTest, FlippedBytesOfGgufHeaderNeverCrash) {
  const std::string good = Read(kGolden / "gguf-q4_1/model.gguf");
  for (size_t at = 0; at < 3000; ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (at % 3 == 0 ? 0xff : at % 3 == 1 ? 0x01 : 0x80));
    Write("model.gguf", bad);
    static_cast<void>(OpenAndPack(folder_ / "model.gguf"));
  }
}

TEST_F(CheckpointTest, AbsurdCountsNeedNoMemory) {
  std::string bad = Read(kGolden / "gguf-q4_1/model.gguf");
  const uint64_t absurd = uint64_t{1} << 60;
  std::memcpy(bad.data() + 8, &absurd, 8);
  Write("model.gguf", bad);
  ExpectRefusal(folder_ / "model.gguf", StatusCode::kInvalidArgument,
                {"model.gguf", "tensors", "more than the file can hold"});
}

TEST_F(CheckpointTest, GgufWithAnUnreadableTypeNamesTensorAndType) {
  // The type follows name (17 bytes), n_dims and two dimensions.
  std::string bytes = Read(kGolden / "gguf-q8_0/model.gguf");
  const size_t at = bytes.find("blk.0.attn_q.weight") + 19 + 4 + 16;
  uint32_t type = 0;
  std::memcpy(&type, bytes.data() + at, 4);
  ASSERT_EQ(type, 8u);
  for (const auto& [id, word] :
       std::vector<std::pair<uint32_t, std::string>>{{6, "Q5_0"}, {4, "Q4_2"}, {99, "unknown type 99"}}) {
    std::memcpy(bytes.data() + at, &id, 4);
    Write("model.gguf", bytes);
    const Status status = OpenAndPack(folder_ / "model.gguf");
    EXPECT_FALSE(status.ok());
    EXPECT_NE(status.message().find("blk.0.attn_q.weight"), std::string::npos) << status.ToString();
    EXPECT_NE(status.message().find(word), std::string::npos) << status.ToString();
  }
}

TEST_F(CheckpointTest, GgufWithMissingTensorOrUnknownArchitecture) {
  const std::string good = Read(kGolden / "gguf-q8_0/model.gguf");
  Write("model.gguf", Replaced(good, "blk.1.ffn_up.weight", "blk.1.ffn_xx.weight"));
  ExpectRefusal(folder_ / "model.gguf", StatusCode::kInvalidArgument,
                {"model.gguf", "blk.1.ffn_up.weight", "missing"});
  Write("model.gguf", Replaced(good, std::string("\x05\0\0\0\0\0\0\0llama", 13),
                               std::string("\x05\0\0\0\0\0\0\0mamba", 13)));
  ExpectRefusal(folder_ / "model.gguf", StatusCode::kUnimplemented, {"model.gguf", "mamba"});
}

TEST_F(CheckpointTest, GgufTensorsThatOverlapOrAreMisaligned) {
  const std::string good = Read(kGolden / "gguf-q8_0/model.gguf");
  const size_t at = good.find("blk.1.ffn_up.weight") + 19 + 4 + 16 + 4;
  uint64_t offset = 0;
  std::memcpy(&offset, good.data() + at, 8);
  for (const auto& [change, word] :
       std::vector<std::pair<int64_t, std::string>>{{-32, "overlap"}, {1, "alignment"}}) {
    std::string bad = good;
    const uint64_t moved = offset + static_cast<uint64_t>(change);
    std::memcpy(bad.data() + at, &moved, 8);
    Write("model.gguf", bad);
    ExpectRefusal(folder_ / "model.gguf", StatusCode::kInvalidArgument, {"blk.1.ffn_up.weight", word});
  }
}

TEST_F(CheckpointTest, TruncatedSafetensorsIsRefusedAtEveryLength) {
  CopyModel("rope-default-f16");
  ASSERT_TRUE(OpenAndPack(folder_).ok());
  const std::string good = Read(folder_ / "model.safetensors");
  for (size_t length = 0; length < good.size(); length += length < 4096 ? 11 : 3001) {
    Write("model.safetensors", std::string_view(good).substr(0, length));
    const Status status = OpenAndPack(folder_);
    ASSERT_FALSE(status.ok()) << length;
    EXPECT_NE(status.message().find("model.safetensors"), std::string::npos) << status.ToString();
  }
}

TEST_F(CheckpointTest, FlippedBytesOfSafetensorsAndConfigNeverCrash) {
  CopyModel("rope-default-f16");
  for (const char* name : {"model.safetensors", "config.json"}) {
    const std::string good = Read(folder_ / name);
    for (size_t at = 0; at < std::min<size_t>(good.size(), 2600); ++at) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (at % 3 == 0 ? 0x08 : at % 3 == 1 ? 0x01 : 0x80));
      Write(name, bad);
      static_cast<void>(OpenAndPack(folder_));
    }
    Write(name, good);
  }
}

TEST_F(CheckpointTest, ShardsAndTheirIndexMustAgree) {
  CopyModel("wide-f16");
  ASSERT_TRUE(OpenAndPack(folder_).ok());
  const std::string index = Read(folder_ / "model.safetensors.index.json");
  std::string first_shard, other_shard;
  ChangeJson("model.safetensors.index.json", [&](Json& json) {
    first_shard = json["weight_map"]["model.layers.0.mlp.up_proj.weight"].get<std::string>();
    json["weight_map"].erase("model.layers.0.mlp.up_proj.weight");
    for (const auto& [tensor, shard] : json["weight_map"].items()) {
      if (shard != first_shard) other_shard = shard.get<std::string>();
    }
  });
  ExpectRefusal(folder_, StatusCode::kInvalidArgument,
                {"model.layers.0.mlp.up_proj.weight", first_shard, "not in the index"});

  Write("model.safetensors.index.json", index);
  ChangeJson("model.safetensors.index.json",
             [&](Json& json) { json["weight_map"]["model.layers.0.mlp.up_proj.weight"] = other_shard; });
  ExpectRefusal(folder_, StatusCode::kInvalidArgument, {"model.layers.0.mlp.up_proj.weight", "missing"});

  Write("model.safetensors.index.json", index);
  Write("copy.safetensors", Read(folder_ / first_shard));
  ChangeJson("model.safetensors.index.json",
             [&](Json& json) { json["weight_map"]["another"] = "copy.safetensors"; });
  ExpectRefusal(folder_, StatusCode::kInvalidArgument, {"two files", "copy.safetensors", first_shard});

  Write("model.safetensors.index.json", index);
  fs::remove(folder_ / first_shard);
  ExpectRefusal(folder_, StatusCode::kNotFound, {first_shard});
}

TEST_F(CheckpointTest, MissingLeftOverAndMisshapenTensorsAreNamed) {
  CopyModel("rope-default-f16");
  const std::string good = Read(folder_ / "model.safetensors");
  Write("model.safetensors",
        Replaced(good, "\"model.layers.1.mlp.up_proj.weight\"", "\"model.layers.1.mlp.xx_proj.weight\""));
  ExpectRefusal(folder_, StatusCode::kInvalidArgument, {"model.layers.1.mlp.up_proj.weight", "missing"});
  Write("model.safetensors", good);

  ChangeJson("config.json", [](Json& json) { json["num_hidden_layers"] = 1; });
  ExpectRefusal(folder_, StatusCode::kInvalidArgument, {"9 tensors", "model.layers.1."});
  ChangeJson("config.json",
             [](Json& json) { json["num_hidden_layers"] = 2, json["intermediate_size"] = 64; });
  ExpectRefusal(folder_, StatusCode::kInvalidArgument, {"mlp.gate_proj.weight", "[96, 48]", "[64, 48]"});
}

TEST_F(CheckpointTest, WhatIsNotBuiltIsNamed) {
  CopyModel("rope-default-f16");
  const std::string good = Read(folder_ / "config.json");
  const std::vector<std::pair<std::function<void(Json&)>, std::string>> changes = {
      {[](Json& j) { j["model_type"] = "qwen2"; }, "qwen2"},
      {[](Json& j) { j["hidden_act"] = "gelu"; }, "gelu"},
      {[](Json& j) {
         j["rope_scaling"] = {{"type", "mrope"}};
       },
       "mrope"},
      {[](Json& j) {
         j["quantization_config"] = {{"quant_method", "awq"}};
       },
       "awq"},
  };
  for (const auto& [change, word] : changes) {
    Write("config.json", good);
    ChangeJson("config.json", change);
    ExpectRefusal(folder_, StatusCode::kUnimplemented, {"config.json", word});
  }
}

TEST_F(CheckpointTest, ConfigFieldsOfWrongTypeOrRange) {
  CopyModel("rope-default-f16");
  const std::string good = Read(folder_ / "config.json");
  const std::vector<std::pair<std::function<void(Json&)>, std::string>> changes = {
      {[](Json& j) { j.erase("hidden_size"); }, "hidden_size"},
      {[](Json& j) { j["hidden_size"] = "48"; }, "hidden_size"},
      {[](Json& j) { j["num_attention_heads"] = 0; }, "attention heads"},
      {[](Json& j) { j["num_hidden_layers"] = -3; }, "layers"},
      {[](Json& j) { j["vocab_size"] = 1e300; }, "vocab_size"},
      {[](Json& j) { j["num_key_value_heads"] = 3; }, "key/value heads"},
      {[](Json& j) {
         j["rope_scaling"] = {{"type", "longrope"}, {"short_factor", {1.0}}, {"long_factor", {1.0}}};
       },
       "short_factor"},
      {[](Json& j) {
         j["rope_scaling"] = {{"type", "linear"}, {"factor", 0}};
       },
       "factor"},
  };
  for (const auto& [change, word] : changes) {
    Write("config.json", good);
    ChangeJson("config.json", change);
    ExpectRefusal(folder_, StatusCode::kInvalidArgument, {"config.json", word});
  }
}

TEST_F(CheckpointTest, NothingThere) {
  ExpectRefusal(folder_ / "absent", StatusCode::kNotFound, {"absent"});
  ExpectRefusal(folder_, StatusCode::kNotFound, {"model.safetensors"});
}

}  // namespace
}  // namespace phalanx
