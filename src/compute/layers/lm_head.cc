#include "compute/layers/lm_head.h"

#include <algorithm>
#include <cstring>

namespace phalanx {

Embedding::Embedding(const WeightStore& store, const std::byte* weights)
    : w_(store.Matrix("embed", weights)) {}

Status Embedding::Forward(const LayerContext& context, std::span<const int32_t> token_ids, float* out) const {
  for (int32_t id : token_ids) {
    if (id < 0 || id >= w_.n) {
      return InvalidArgument("token id " + std::to_string(id) + " is outside the vocabulary of " +
                             std::to_string(w_.n));
    }
  }
  context.ForRows(static_cast<int64_t>(token_ids.size()), w_.k, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      context.kernels->unpack_row(w_, token_ids[static_cast<size_t>(row)], out + row * w_.k);
    }
  });
  return Status::Ok();
}

LmHead::LmHead(const WeightStore& store, const std::byte* weights, const LayerContext& context)
    : vocab_size_(store.config().vocab_size) {
  const int64_t panels = (vocab_size_ + kPanelColumns - 1) / kPanelColumns;
  const int tp = context.tp_size();
  for (int rank = 0; rank < tp; ++rank) {
    slices_.push_back({std::min(panels * rank / tp * kPanelColumns, vocab_size_),
                       std::min(panels * (rank + 1) / tp * kPanelColumns, vocab_size_)});
  }
  const std::string name = store.config().tied_embeddings ? "embed" : "lm_head";
  own_ = ColumnParallel(store, weights, name, slices_[static_cast<size_t>(context.tp_rank())]);
  counts_.resize(static_cast<size_t>(tp));
}

Status LmHead::Forward(const LayerContext& context, const Activations& x, float* logits) {
  const int64_t rows = x.rows();
  if (rows == 0) return Status::Ok();
  if (context.tp_size() == 1) {
    const ColumnTask task{&own_, logits, vocab_size_};
    ForwardColumns(context, x, {&task, 1});
    return Status::Ok();
  }
  float* mine = mine_.Reserve(static_cast<size_t>(rows * own_.width()));
  const ColumnTask task{&own_, mine, own_.width()};
  ForwardColumns(context, x, {&task, 1});
  for (size_t rank = 0; rank < slices_.size(); ++rank) counts_[rank] = rows * slices_[rank].size();
  float* gathered = gathered_.Reserve(static_cast<size_t>(rows * vocab_size_));
  RETURN_IF_ERROR(context.tp->AllGatherV({mine, static_cast<size_t>(rows * own_.width())},
                                         {gathered, static_cast<size_t>(rows * vocab_size_)}, counts_));
  context.ForRows(rows, vocab_size_, [&](int64_t begin, int64_t end) {
    for (const Slice& slice : slices_) {
      const float* part = gathered + slice.begin * rows;
      for (int64_t row = begin; row < end; ++row) {
        std::copy_n(part + row * slice.size(), slice.size(), logits + row * vocab_size_ + slice.begin);
      }
    }
  });
  return Status::Ok();
}

}  // namespace phalanx
