#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/status.h"
#include "compute/cache/kv_cache.h"
#include "compute/layers/forward_batch.h"
#include "compute/layers/linear.h"
#include "compute/layers/rope.h"
#include "compute/layers/tensor_parallel.h"

namespace phalanx {

// How the attention of a step is cut into work: the same for every layer of the model. Threads take items from the most
// expensive on; who takes which never changes a result. Reused from step to step.
class AttentionPlan {
 public:
  struct Item {
    const ForwardSequence* sequence;
    int32_t row_begin, row_end;  // rows of the sequence in this step
    int64_t cost;
  };

  // Requires: `batch` outlives the use of the plan.
  void Build(const ForwardBatch& batch);

  const std::vector<Item>& items() const { return items_; }
  // Whether some sequence is cut into several items, so that all keys must be stored before the first item starts.
  bool stores_first() const { return stores_first_; }

 private:
  std::vector<Item> items_;
  bool stores_first_ = false;
};

// Scratch of attention and MLP, shared by the layers of a model.
struct DecoderScratch {
  Activations qkv;        // [rows, (q heads + 2 kv heads) * head_dim]
  Activations attention;  // [rows, q heads * head_dim]
  Activations gate;       // [rows, intermediate]
  Activations up;
  std::vector<ScratchBuffer<float>> thread_scratch;  // of the attention kernel
  std::atomic<int64_t> next_item{0};
};

// Self-attention of one layer on one rank: its heads, their keys and values in the rank's plane of the cache.
class Attention {
 public:
  // Weights "<prefix>q", "k", "v", "o". `cache` outlives it; its shape is that of `shard`.
  Attention(const WeightStore& store, const std::byte* weights, const std::string& prefix, int32_t layer,
            const TensorParallelShard& shard, const LayerContext& context, const KvCache* cache);

  bool wants_quantized() const {
    return q_.wants_quantized() || k_.wants_quantized() || v_.wants_quantized();
  }

  // Stores the rows' keys and values, then out [rows, hidden] = o(attention), complete on every rank. x is quantised if
  // wants_quantized().
  Status Forward(const LayerContext& context, const ForwardBatch& batch, const AttentionPlan& plan,
                 const RopeTable& rope, const Activations& x, DecoderScratch* scratch, float* out) const;

 private:
  // Rotates and stores the keys, and rotates the queries, of rows [begin, end) of the sequence for kv head `kv`.
  void RotateAndStore(const KernelTable& kernels, const ForwardSequence& sequence, int32_t begin, int32_t end,
                      int kv, const RopeTable& rope, Activations* qkv) const;
  void Attend(const KernelTable& kernels, const AttentionPlan::Item& item, int kv, const Activations& qkv,
              float* scratch, Activations* out) const;

  int64_t QOffset(int64_t head) const { return head * head_dim_; }
  int64_t KOffset(int64_t kv) const { return (num_heads_ + kv) * head_dim_; }
  int64_t VOffset(int64_t kv) const { return (num_heads_ + num_kv_heads_ + kv) * head_dim_; }

  ColumnParallel q_, k_, v_;
  RowParallel o_;
  int32_t layer_;
  int64_t num_heads_, num_kv_heads_, head_dim_;  // of this rank
  int64_t window_;
  float scale_;
  const KvCache* cache_;
};

}  // namespace phalanx
