#include "compute/worker/step_runner.h"

#include <algorithm>

// A row's result does not depend on its company, so a step may be cut anywhere: portions keep the logits of a
// step with thousands of wanted rows (log-probabilities of a prompt) within bounds.
namespace phalanx {

StepRunner::StepRunner(const Options& options, const KernelTable* kernels, ThreadTeam* threads, Model* model)
    : options_(options),
      threads_(threads),
      model_(model),
      mirror_({options.vocab_size, options.num_logits, options.block_size, options.num_blocks}) {
  for (int i = 0; i < threads->size(); ++i) {
    samplers_.push_back(std::make_unique<Sampler>(kernels, options.vocab_size));
  }
}

Status StepRunner::Run(const Batch& batch, StepResult* result) {
  result->tokens.clear();
  result->prompt_logprobs.clear();
  result->num_tokens = 0;
  RETURN_IF_ERROR(mirror_.Apply(batch, &rows_));
  for (const StepRows& rows : rows_) {
    if (rows.skipped) {
      if (rows.samples) result->tokens.emplace_back().id = rows.id;
      continue;
    }
    result->num_tokens += rows.num_rows;
    RETURN_IF_ERROR(AddSequence(rows, result));
  }
  return RunPortion(result);
}

bool StepRunner::WantsPromptLogprobs(const StepRows& rows) const {
  return rows.sequence->sampling.params().num_prompt_logprobs >= 0 &&
         rows.first_position < rows.sequence->num_prompt_tokens;
}

Status StepRunner::AddSequence(const StepRows& rows, StepResult* result) {
  const bool prompt_logprobs = WantsPromptLogprobs(rows);
  if (prompt_logprobs) OpenPromptLogprobs(rows, result);
  int32_t first = 0;
  for (int32_t row = 0; row < rows.num_rows; ++row) {
    const bool last = row + 1 == rows.num_rows;
    const bool wanted = (last && rows.samples) ||
                        (prompt_logprobs && rows.first_position + row + 1 < rows.sequence->num_prompt_tokens);
    if (!wanted) continue;
    if (static_cast<int64_t>(logits_rows_.size()) == options_.max_logits_rows) {
      AddRows(rows, first, row - first);
      first = row;
      RETURN_IF_ERROR(RunPortion(result));
    }
    AddLogitsRow(rows, row, result);
    batch_.logits_rows.push_back(batch_.num_tokens() + row - first);
  }
  AddRows(rows, first, rows.num_rows - first);
  return Status::Ok();
}

void StepRunner::AddRows(const StepRows& rows, int32_t first, int32_t count) {
  if (count == 0) return;
  ForwardSequence sequence;
  sequence.first_row = batch_.num_tokens();
  sequence.num_rows = count;
  sequence.first_position = rows.first_position + first;
  sequence.block_table = rows.sequence->block_table.data();
  sequence.reserved_length = rows.sequence->reserved_length;
  batch_.sequences.push_back(sequence);
  batch_.token_ids.insert(batch_.token_ids.end(), rows.token_ids + first, rows.token_ids + first + count);
}

// The prompt token at position p gets its log-probability from the row of p - 1: the first one of a chunk
// from the chunk before.
void StepRunner::OpenPromptLogprobs(const StepRows& rows, StepResult* result) {
  MirroredSequence& sequence = *rows.sequence;
  PromptLogprobs prompt;
  prompt.id = rows.id;
  prompt.first_position = rows.first_position + 1;
  if (!sequence.prompt_logits.empty()) {
    prompt.first_position = rows.first_position;
    prompt.tokens.push_back(samplers_[0]->Logprobs(sequence.prompt_logits, rows.token_ids[0],
                                                   sequence.sampling.params().num_prompt_logprobs));
    sequence.prompt_logits.clear();
  }
  result->prompt_logprobs.push_back(std::move(prompt));
}

void StepRunner::AddLogitsRow(const StepRows& rows, int32_t row, StepResult* result) {
  LogitsRow wanted{&rows, row, rows.samples && row + 1 == rows.num_rows, 0, 0};
  if (wanted.samples) {
    wanted.result = result->tokens.size();
    result->tokens.emplace_back().id = rows.id;
  } else {
    wanted.result = result->prompt_logprobs.size() - 1;
    if (row + 1 < rows.num_rows) {
      std::vector<TokenLogprobs>& tokens = result->prompt_logprobs[wanted.result].tokens;
      wanted.entry = tokens.size();
      tokens.emplace_back();
    }
  }
  logits_rows_.push_back(wanted);
}

Status StepRunner::RunPortion(StepResult* result) {
  const size_t num_logits = static_cast<size_t>(options_.num_logits);
  const size_t size = logits_rows_.size() * num_logits;
  if (logits_.size() < size) logits_.resize(size);
  const std::span<float> logits(logits_.data(), size);
  Status status = model_->Forward(batch_, logits);
  if (status.ok()) {
    threads_->ParallelFor(static_cast<long>(logits_rows_.size()), 1, [&](long begin, long end, int thread) {
      for (long i = begin; i < end; ++i) {
        ChooseToken(logits_rows_[static_cast<size_t>(i)],
                    logits.subspan(static_cast<size_t>(i) * num_logits, num_logits),
                    samplers_[static_cast<size_t>(thread)].get(), result);
      }
    });
  }
  batch_.token_ids.clear();
  batch_.sequences.clear();
  batch_.logits_rows.clear();
  logits_rows_.clear();
  return status;
}

void StepRunner::ChooseToken(const LogitsRow& wanted, std::span<float> logits, Sampler* sampler,
                             StepResult* result) {
  const StepRows& rows = *wanted.rows;
  MirroredSequence& sequence = *rows.sequence;
  const SamplingParams& params = sequence.sampling.params();
  if (wanted.samples) {
    SampledToken& token = result->tokens[wanted.result];
    const int64_t position = rows.first_position + rows.num_rows;
    token.has_logprobs = params.num_logprobs >= 0;
    token.token_id =
        sampler->Sample(logits, sequence.sampling, position, token.has_logprobs ? &token.logprobs : nullptr);
    token.stopped = std::find(params.stop_token_ids.begin(), params.stop_token_ids.end(), token.token_id) !=
                    params.stop_token_ids.end();
    sequence.last_sampled = token.token_id;
    sequence.stopped = token.stopped;
  } else if (wanted.row + 1 < rows.num_rows) {
    result->prompt_logprobs[wanted.result].tokens[wanted.entry] =
        sampler->Logprobs(logits, rows.token_ids[wanted.row + 1], params.num_prompt_logprobs);
  } else {
    sequence.prompt_logits.assign(logits.begin(), logits.end());
  }
}

Status StepRunner::WarmUp(int32_t block) {
  batch_.token_ids = {0};
  batch_.sequences = {ForwardSequence{0, 1, 0, &block, 0}};
  batch_.logits_rows = {0};
  logits_.resize(static_cast<size_t>(options_.num_logits));
  const Status status = model_->Forward(batch_, logits_);
  batch_.token_ids.clear();
  batch_.sequences.clear();
  batch_.logits_rows.clear();
  return status;
}

}  // namespace phalanx
