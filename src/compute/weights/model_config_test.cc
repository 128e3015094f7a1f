#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "compute/weights/hf_config.h"
#include "compute/weights/weight_store.h"

namespace phalanx {
namespace {

namespace fs = std::filesystem;

// A checkpoint without tensors, for the configuration alone.
class NoTensors : public Checkpoint {
 public:
  NoTensors() {
    CHECK(SetTensors({CheckpointTensor{"x", "BF16", WeightFormat::kBF16, {1}, nullptr, 2, "file"}}).ok());
  }
  const std::string& path() const override { return path_; }
  CheckpointSource source() const override { return CheckpointSource::kHuggingFace; }
  Result<ModelConfig> ReadConfig() const override { return Unimplemented("not here"); }

 private:
  std::string path_ = "nowhere";
};

class ModelConfigTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("phx_config_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void Write(const std::string& name, const std::string& text) { std::ofstream(folder_ / name) << text; }
  // The configuration of a small llama or mistral with these further fields.
  ModelConfig Parse(const std::string& model_type, const std::string& more) {
    Write("config.json",
          R"({"model_type": ")" + model_type +
              R"(", "vocab_size": 100, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
                                "num_attention_heads": 4, "num_key_value_heads": 2)" +
              more + "}");
    Result<ModelConfig> config = ConfigFromHuggingFace(folder_.string(), NoTensors());
    EXPECT_TRUE(config.ok()) << config.status().ToString();
    return config.ok() ? *config : ModelConfig();
  }

  fs::path folder_;
};

TEST_F(ModelConfigTest, HeadSizeIsExplicitOrDerived) {
  EXPECT_EQ(Parse("llama", "").head_dim, 16);
  EXPECT_EQ(Parse("llama", R"(, "head_dim": null)").head_dim, 16);
  EXPECT_EQ(Parse("llama", R"(, "head_dim": 24)").head_dim, 24);
}

TEST_F(ModelConfigTest, DefaultsOfTheClass) {
  const ModelConfig config = Parse("llama", "");
  EXPECT_FLOAT_EQ(config.rms_norm_eps, 1e-6f);
  EXPECT_EQ(config.max_position, 2048);
  EXPECT_EQ(config.rope.theta, 10000);
  EXPECT_FALSE(config.tied_embeddings || config.qkv_bias || config.mlp_bias);
  EXPECT_EQ(config.dtype, "BF16");
}

TEST_F(ModelConfigTest, WindowOfMistral) {
  EXPECT_EQ(Parse("mistral", "").layer_window, (std::vector<int64_t>{4096, 4096}));
  EXPECT_EQ(Parse("mistral", R"(, "sliding_window": null)").layer_window, (std::vector<int64_t>{0, 0}));
  EXPECT_EQ(
      Parse("mistral", R"(, "sliding_window": 7, "layer_types": ["full_attention", "sliding_attention"])")
          .layer_window,
      (std::vector<int64_t>{0, 7}));
  EXPECT_EQ(Parse("llama", R"(, "sliding_window": 7)").layer_window, (std::vector<int64_t>{0, 0}));
}

TEST_F(ModelConfigTest, RopeNamesOldAndNew) {
  const ModelConfig old_names = Parse("llama", R"(, "rope_theta": 5e5, "max_position_embeddings": 4096,
      "rope_scaling": {"type": "yarn", "factor": null, "original_max_position_embeddings": 1024})");
  EXPECT_EQ(old_names.rope.type, RopeConfig::Type::kYarn);
  EXPECT_EQ(old_names.rope.theta, 5e5);
  EXPECT_EQ(old_names.rope.factor, 4);
  const ModelConfig new_names =
      Parse("llama", R"(, "rope_theta": 1, "dtype": "float16", "original_max_position_embeddings": 512,
      "rope_parameters": {"rope_theta": 2e4, "rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
                          "original_max_position_embeddings": 1024})");
  EXPECT_EQ(new_names.rope.type, RopeConfig::Type::kLlama3);
  EXPECT_EQ(new_names.rope.theta, 2e4);
  EXPECT_EQ(new_names.rope.original_max_position, 512);
  EXPECT_EQ(new_names.dtype, "float16");
  const ModelConfig nested = Parse(
      "llama", R"(, "rope_parameters": {"full_attention": {"rope_theta": 3e4, "rope_type": "default"}})");
  EXPECT_EQ(nested.rope.theta, 3e4);
  EXPECT_EQ(Parse("llama", R"(, "rope_scaling": null)").rope.type, RopeConfig::Type::kDefault);
}

TEST_F(ModelConfigTest, TokensOfTheTokenizer) {
  EXPECT_EQ(Parse("llama", "").token_count, 0);
  Write("tokenizer.json",
        R"({"added_tokens": [{"id": 90, "content": "x", "special": true}], "model": {"type": "BPE",
      "vocab": {"a": 0, "id": 7, "b": 41}, "merges": [["a", "b"]], "extra": {"vocab": {"deep": 99}}}, "post_processor": {"ids": [95]}})");
  EXPECT_EQ(Parse("llama", "").token_count, 91);
  Write("tokenizer.json", R"({"model": {"type": "Unigram", "vocab": [["a", -1.5], ["b", -2], ["c", 3]]}})");
  EXPECT_EQ(Parse("llama", "").token_count, 3);
  Write("tokenizer.json", R"({"model": {"vocab": {"a": 0)");
  EXPECT_EQ(Parse("llama", "").token_count, 0);
  fs::remove(folder_ / "tokenizer.json");
}

}  // namespace
}  // namespace phalanx
