#include "tests/golden/model_harness.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "compute/layers/tensor_parallel.h"

namespace phalanx {

Result<std::unique_ptr<PackedModel>> PackedModel::Load(const std::string& path) {
  auto packed = std::make_unique<PackedModel>();
  ASSIGN_OR_RETURN(packed->store_, WeightStore::Open(path));
  const size_t bytes = (packed->store_->packed_bytes() + 63) / 64 * 64;
  packed->weights_ = static_cast<std::byte*>(std::aligned_alloc(64, bytes));
  CHECK(packed->weights_ != nullptr);
  // Backwards: no task may rely on another.
  for (int task = packed->store_->num_tasks() - 1; task >= 0; --task) {
    RETURN_IF_ERROR(packed->store_->RunTask(task, packed->weights_));
  }
  return packed;
}

PackedModel::~PackedModel() {
  std::free(weights_);
}

ModelHarness::ModelHarness(const PackedModel& packed, const HarnessOptions& options)
    : options_(options),
      vocab_size_(packed.store().config().vocab_size),
      team_(std::vector<int>(static_cast<size_t>(options.threads), -1)) {}

Result<std::unique_ptr<ModelHarness>> ModelHarness::Create(const PackedModel& packed, Communicator* tp,
                                                           const HarnessOptions& options) {
  const ModelConfig& config = packed.store().config();
  RETURN_IF_ERROR(CheckTensorParallel(config, tp->size()));
  std::unique_ptr<ModelHarness> harness(new ModelHarness(packed, options));
  KvCacheShape shape;
  shape.num_layers = config.num_layers;
  shape.num_kv_heads = static_cast<int32_t>(ShardOf(config, tp->size(), tp->group_rank()).kv_heads.size());
  shape.head_dim = config.head_dim;
  shape.block_size = options.block_size;
  shape.format = options.format;
  harness->plane_.resize(shape.block_bytes() * static_cast<size_t>(options.num_blocks) + 64);
  void* begin = harness->plane_.data();
  size_t space = harness->plane_.size();
  std::align(64, space - 64, begin, space);
  harness->cache_ = std::make_unique<KvCache>(shape, options.num_blocks, static_cast<std::byte*>(begin));

  ModelContext context;
  ASSIGN_OR_RETURN(context.kernels, SelectKernels(options.kernels));
  context.threads = &harness->team_;
  context.attn_tp = tp;
  context.weights = packed.weights();
  context.cache = harness->cache_.get();
  ASSIGN_OR_RETURN(harness->model_, BuildModel(packed.store(), context));
  return harness;
}

int ModelHarness::AddSequence(int64_t reserved_length) {
  sequences_.push_back({0, reserved_length, {}});
  return static_cast<int>(sequences_.size()) - 1;
}

Result<std::vector<float>> ModelHarness::Run(const std::vector<HarnessStep>& steps, bool all_rows) {
  ForwardBatch batch;
  for (const HarnessStep& step : steps) {
    Sequence& sequence = sequences_[static_cast<size_t>(step.sequence)];
    const int64_t end = sequence.length + static_cast<int64_t>(step.tokens.size());
    while (static_cast<int64_t>(sequence.blocks.size()) * options_.block_size < end) {
      if (blocks_given_ == options_.num_blocks) return ResourceExhausted("the harness has no blocks left");
      // 5 steps at a time around the pool: blocks of a sequence lie apart and out of order.
      const int64_t stride = std::gcd<int64_t>(5, options_.num_blocks) == 1 ? 5 : 1;
      sequence.blocks.push_back(static_cast<int32_t>(blocks_given_++ * stride % options_.num_blocks));
    }
    ForwardSequence flat;
    flat.first_row = batch.num_tokens();
    flat.num_rows = static_cast<int32_t>(step.tokens.size());
    flat.first_position = sequence.length;
    flat.block_table = sequence.blocks.data();
    flat.reserved_length = sequence.reserved_length;
    batch.sequences.push_back(flat);
    batch.token_ids.insert(batch.token_ids.end(), step.tokens.begin(), step.tokens.end());
    if (!all_rows && !step.tokens.empty()) batch.logits_rows.push_back(batch.num_tokens() - 1);
    sequence.length = end;
  }
  for (int64_t row = 0; all_rows && row < batch.num_tokens(); ++row) batch.logits_rows.push_back(row);
  std::vector<float> logits(batch.logits_rows.size() * static_cast<size_t>(vocab_size_));
  RETURN_IF_ERROR(model_->Forward(batch, logits));
  return logits;
}

}  // namespace phalanx
