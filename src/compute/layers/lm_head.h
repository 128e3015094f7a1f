#pragma once

#include <span>

#include "base/status.h"
#include "compute/layers/linear.h"

namespace phalanx {

// Rows of the embedding matrix as hidden states. Every rank looks all rows up in the shared weights: no exchange.
class Embedding {
 public:
  Embedding(const WeightStore& store, const std::byte* weights);

  // out [token_ids.size(), hidden]. InvalidArgument for an id outside the vocabulary.
  Status Forward(const LayerContext& context, std::span<const int32_t> token_ids, float* out) const;

 private:
  PackedMatrix w_;
};

// Logits, with the vocabulary split over the group by panels and gathered on every rank.
class LmHead {
 public:
  // Weight "lm_head", or "embed" if the embeddings are tied.
  LmHead(const WeightStore& store, const std::byte* weights, const LayerContext& context);

  bool wants_quantized() const { return own_.wants_quantized(); }
  // logits [x.rows, vocab_size]. x is quantised if wants_quantized().
  Status Forward(const LayerContext& context, const Activations& x, float* logits);

 private:
  int64_t vocab_size_;
  std::vector<Slice> slices_;  // of every rank
  ColumnParallel own_;
  ScratchBuffer<float> mine_, gathered_;
  std::vector<int64_t> counts_;
};

}  // namespace phalanx
