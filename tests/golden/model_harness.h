#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/thread_team.h"
#include "compute/models/model.h"

namespace phalanx {

// A checkpoint and its packed weights, shared by all harnesses of a test.
class PackedModel {
 public:
  static Result<std::unique_ptr<PackedModel>> Load(const std::string& path);
  ~PackedModel();

  const WeightStore& store() const { return *store_; }
  const std::byte* weights() const { return weights_; }

 private:
  std::unique_ptr<WeightStore> store_;
  std::byte* weights_ = nullptr;
};

struct HarnessOptions {
  std::string kernels;  // empty: the best
  int threads = 1;
  int block_size = 16;
  KvFormat format = KvFormat::kF32;
  int64_t num_blocks = 256;
};

// New tokens of one sequence in a step.
struct HarnessStep {
  int sequence = 0;
  std::vector<int32_t> tokens;
};

// A model on one rank with a cache of its own, driven as a Worker drives it, without a Worker: sequences with block tables that are
// neither contiguous nor in order. Build, use and drop it on one thread.
class ModelHarness {
 public:
  static Result<std::unique_ptr<ModelHarness>> Create(const PackedModel& packed, Communicator* tp,
                                                      const HarnessOptions& options);

  // A new, empty sequence; see ForwardSequence::reserved_length.
  int AddSequence(int64_t reserved_length = 0);
  // Runs one step. Logits of all rows, or of every sequence's last row only: [rows, vocab_size].
  Result<std::vector<float>> Run(const std::vector<HarnessStep>& steps, bool all_rows);
  Model& model() { return *model_; }
  int64_t vocab_size() const { return vocab_size_; }

 private:
  struct Sequence {
    int64_t length = 0;
    int64_t reserved_length = 0;
    std::vector<int32_t> blocks;
  };
  ModelHarness(const PackedModel& packed, const HarnessOptions& options);

  HarnessOptions options_;
  int64_t vocab_size_;
  ThreadTeam team_;
  std::vector<std::byte> plane_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Model> model_;
  std::vector<Sequence> sequences_;
  int32_t blocks_given_ = 0;
};

}  // namespace phalanx
