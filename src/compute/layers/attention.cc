// Decoding rows are independent work: an item rotates its own queries and keys, stores the keys and values and attends, without a
// barrier in between. A long piece of a prompt is cut into several items, and then the keys of all rows are stored in a
// region of their own first.
#include "compute/layers/attention.h"

#include <algorithm>
#include <cmath>

namespace phalanx {
namespace {

constexpr int32_t kRowsPerItem = 32;

}  // namespace

void AttentionPlan::Build(const ForwardBatch& batch) {
  items_.clear();
  stores_first_ = false;
  for (const ForwardSequence& sequence : batch.sequences) {
    stores_first_ |= sequence.num_rows > kRowsPerItem;
    for (int32_t begin = 0; begin < sequence.num_rows; begin += kRowsPerItem) {
      const int32_t end = std::min(begin + kRowsPerItem, sequence.num_rows);
      items_.push_back({&sequence, begin, end, (end - begin) * (sequence.first_position + end)});
    }
  }
  std::sort(items_.begin(), items_.end(), [](const Item& a, const Item& b) {
    if (a.cost != b.cost) return a.cost > b.cost;
    if (a.sequence != b.sequence) return a.sequence < b.sequence;
    return a.row_begin < b.row_begin;
  });
}

Attention::Attention(const WeightStore& store, const std::byte* weights, const std::string& prefix,
                     int32_t layer, const TensorParallelShard& shard, const LayerContext& context,
                     const KvCache* cache)
    : layer_(layer), cache_(cache) {
  const ModelConfig& config = store.config();
  head_dim_ = config.head_dim;
  num_heads_ = shard.heads.size();
  num_kv_heads_ = shard.kv_heads.size();
  window_ = config.layer_window[static_cast<size_t>(layer)];
  scale_ = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim_)));
  const Slice q_rows{shard.heads.begin * head_dim_, shard.heads.end * head_dim_};
  const Slice kv_rows{shard.kv_heads.begin * head_dim_, shard.kv_heads.end * head_dim_};
  q_ = ColumnParallel(store, weights, prefix + "q", q_rows);
  k_ = ColumnParallel(store, weights, prefix + "k", kv_rows);
  v_ = ColumnParallel(store, weights, prefix + "v", kv_rows);
  o_ = RowParallel(store, weights, prefix + "o", config.output_segments, context);
}

void Attention::RotateAndStore(const KernelTable& kernels, const ForwardSequence& sequence, int32_t begin,
                               int32_t end, int kv, const RopeTable& rope, Activations* qkv) const {
  const KvCacheShape& shape = cache_->shape();
  const int64_t group = num_heads_ / num_kv_heads_;
  std::byte* pages = cache_->Pages(layer_, kv);
  for (int32_t i = begin; i < end; ++i) {
    const int64_t row = sequence.first_row + i, position = sequence.first_position + i;
    float* values = qkv->Row(row);
    const float* cos_sin = rope.Row(row);
    for (int64_t head = kv * group; head < (kv + 1) * group; ++head) {
      kernels.rope(values + QOffset(head), rope.half(), false, cos_sin);
    }
    kernels.rope(values + KOffset(kv), rope.half(), false, cos_sin);
    const int64_t block = sequence.block_table[position / shape.block_size];
    DCHECK(block >= 0 && block < cache_->num_blocks());
    StoreKvArgs args;
    args.key = values + KOffset(kv);
    args.value = values + VOffset(kv);
    args.page_head = pages + static_cast<size_t>(block) * shape.page_head_bytes();
    args.format = shape.format;
    args.slot_in_block = static_cast<int>(position % shape.block_size);
    args.block_size = shape.block_size;
    args.head_dim = shape.head_dim;
    kernels.store_kv(args);
  }
}

void Attention::Attend(const KernelTable& kernels, const AttentionPlan::Item& item, int kv,
                       const Activations& qkv, float* scratch, Activations* out) const {
  const KvCacheShape& shape = cache_->shape();
  const int64_t group = num_heads_ / num_kv_heads_;
  const int64_t row = item.sequence->first_row + item.row_begin;
  AttentionArgs args;
  args.q = qkv.Row(row) + QOffset(kv * group);
  args.q_stride = qkv.width();
  args.out = out->Row(row) + kv * group * head_dim_;
  args.out_stride = out->width();
  args.rows = item.row_end - item.row_begin;
  args.heads = static_cast<int>(group);
  args.head_dim = shape.head_dim;
  args.first_position = item.sequence->first_position + item.row_begin;
  args.window = window_;
  args.scale = scale_;
  args.format = shape.format;
  args.block_size = shape.block_size;
  args.block_table = item.sequence->block_table;
  args.pages = cache_->Pages(layer_, kv);
  args.page_stride = static_cast<int64_t>(shape.page_head_bytes());
  args.scratch = scratch;
  kernels.attention(args);
}

Status Attention::Forward(const LayerContext& context, const ForwardBatch& batch, const AttentionPlan& plan,
                          const RopeTable& rope, const Activations& x, DecoderScratch* scratch,
                          float* out) const {
  const KernelTable& kernels = *context.kernels;
  Activations& qkv = scratch->qkv;
  qkv.Resize(x.rows(), (num_heads_ + 2 * num_kv_heads_) * head_dim_);
  scratch->attention.Resize(x.rows(), num_heads_ * head_dim_);
  const ColumnTask tasks[] = {{&q_, qkv.Row(0) + QOffset(0), qkv.width()},
                              {&k_, qkv.Row(0) + KOffset(0), qkv.width()},
                              {&v_, qkv.Row(0) + VOffset(0), qkv.width()}};
  ForwardColumns(context, x, tasks);

  const int kv_heads = static_cast<int>(num_kv_heads_);
  if (plan.stores_first()) {
    context.ForRows(x.rows(), qkv.width(), [&](int64_t begin, int64_t end) {
      for (const ForwardSequence& sequence : batch.sequences) {
        const int64_t first = std::max<int64_t>(begin - sequence.first_row, 0);
        const int64_t last = std::min<int64_t>(end - sequence.first_row, sequence.num_rows);
        if (first >= last) continue;
        for (int kv = 0; kv < kv_heads; ++kv) {
          RotateAndStore(kernels, sequence, static_cast<int32_t>(first), static_cast<int32_t>(last), kv, rope,
                         &qkv);
        }
      }
    });
  }
  const int64_t num_items = static_cast<int64_t>(plan.items().size()) * kv_heads;
  const size_t scratch_floats = AttentionScratchFloats(cache_->shape().block_size, cache_->shape().head_dim,
                                                       static_cast<int>(num_heads_ / num_kv_heads_));
  scratch->next_item.store(0, std::memory_order_relaxed);
  context.threads->Run([&](int thread) {
    float* own = scratch->thread_scratch[static_cast<size_t>(thread)].Reserve(scratch_floats);
    for (;;) {
      const int64_t i = scratch->next_item.fetch_add(1, std::memory_order_relaxed);
      if (i >= num_items) return;
      const AttentionPlan::Item& item = plan.items()[static_cast<size_t>(i / kv_heads)];
      const int kv = static_cast<int>(i % kv_heads);
      if (!plan.stores_first())
        RotateAndStore(kernels, *item.sequence, item.row_begin, item.row_end, kv, rope, &qkv);
      Attend(kernels, item, kv, qkv, own, &scratch->attention);
    }
  });
  if (o_.wants_quantized()) scratch->attention.Quantize(context);
  return o_.Forward(context, scratch->attention, out);
}

}  // namespace phalanx
