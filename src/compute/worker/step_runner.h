#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "base/thread_team.h"
#include "compute/layers/forward_batch.h"
#include "compute/models/model.h"
#include "compute/sampling/sampler.h"
#include "compute/worker/sequence_mirror.h"
#include "plan/step_plan.h"
#include "plan/step_result.h"

namespace phalanx {

// Runs the steps of one rank: plan's batch -> rows -> model -> sampled tokens. All ranks of a tp group run
// the same batches, get the same logits and so sample the same tokens, without a word between them. One
// thread.
class StepRunner {
 public:
  struct Options {
    int32_t block_size = 128;
    int64_t num_blocks = 0;
    int32_t vocab_size = 0;  // tokens that may be sampled
    int64_t num_logits = 0;  // of a row: the model's vocabulary
    // A step with more rows that want logits is computed in portions; the result is the same.
    int64_t max_logits_rows = 256;
  };

  // All pointers outlive it.
  StepRunner(const Options& options, const KernelTable* kernels, ThreadTeam* threads, Model* model);

  // Computes one batch. Fills result's tokens, prompt_logprobs and num_tokens, in order of the batch's steps.
  Status Run(const Batch& batch, StepResult* result);
  // One row at position 0 in `block`: touches weights and scratch memory before the first request comes.
  Status WarmUp(int32_t block);

 private:
  // A row whose logits are wanted, and what for.
  struct LogitsRow {
    const StepRows* rows;
    int32_t row;    // within rows
    bool samples;   // else: log-probability of the prompt token after it
    size_t result;  // index in tokens or prompt_logprobs
    size_t entry;   // of prompt_logprobs[result].tokens
  };

  bool WantsPromptLogprobs(const StepRows& rows) const;
  // Adds rows [first, first + count) of the sequence to the portion under way.
  void AddRows(const StepRows& rows, int32_t first, int32_t count);
  void AddLogitsRow(const StepRows& rows, int32_t row, StepResult* result);
  Status AddSequence(const StepRows& rows, StepResult* result);
  void OpenPromptLogprobs(const StepRows& rows, StepResult* result);
  // Computes the portion under way and starts a new one.
  Status RunPortion(StepResult* result);
  void ChooseToken(const LogitsRow& row, std::span<float> logits, Sampler* sampler, StepResult* result);

  Options options_;
  ThreadTeam* threads_;
  Model* model_;
  SequenceMirror mirror_;
  std::vector<std::unique_ptr<Sampler>> samplers_;  // one per thread
  std::vector<StepRows> rows_;
  ForwardBatch batch_;
  std::vector<LogitsRow> logits_rows_;
  std::vector<float> logits_;
};

}  // namespace phalanx
