#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"
#include "base/thread_team.h"
#include "compute/cache/kv_cache.h"
#include "compute/kernels/kernel_table.h"
#include "compute/layers/forward_batch.h"
#include "compute/weights/weight_store.h"
#include "parallel/comm/communicator.h"

namespace phalanx {

// Where a model finds itself: one rank of an attention-tp group, its kernels, threads and memory. All pointers outlive it.
struct ModelContext {
  const KernelTable* kernels = nullptr;
  ThreadTeam* threads = nullptr;
  Communicator* attn_tp = nullptr;     // never null; size 1 for tp 1
  const std::byte* weights = nullptr;  // packed weights of the store, all tasks done
  KvCache* cache = nullptr;
};

// A decoder on one rank. One thread uses it.
class Model {
 public:
  virtual ~Model() = default;

  // Writes keys and values of the batch's tokens into the cache and gives the logits of batch.logits_rows:
  // logits [logits_rows, vocab_size], row-major, complete on every rank of the group. Every rank of the group calls it with the
  // same batch. An empty batch returns at once.
  virtual Status Forward(const ForwardBatch& batch, std::span<float> logits) = 0;

  // Called with "embedding", "layer<i>.attention" (after the output projection, before the residual), "layer<i>.mlp"
  // (likewise), "layer<i>" and "final_norm" (rows of logits_rows only); rows x cols floats. For tests.
  using Trace = std::function<void(std::string_view name, const float* values, int64_t rows, int64_t cols)>;
  void set_trace(Trace trace) { trace_ = std::move(trace); }

 protected:
  Trace trace_;
};

// The model of the store's architecture (the table of families is in model_table.cc). Unimplemented names an unknown one.
Result<std::unique_ptr<Model>> BuildModel(const WeightStore& store, const ModelContext& context);

}  // namespace phalanx
