#include "compute/worker/sequence_mirror.h"

#include <string>

namespace phalanx {
namespace {

Status BadPlan(SequenceId id, const std::string& what) {
  return Internal("the plan for sequence " + std::to_string(id) + " " + what);
}

}  // namespace

Status SequenceMirror::Apply(const Batch& batch, std::vector<StepRows>* rows) {
  rows->clear();
  for (const SequenceId id : batch.ended) sequences_.erase(id);
  for (const SequenceStart& start : batch.started) {
    sequences_.insert_or_assign(start.id, MirroredSequence(start, limits_.vocab_size));
  }
  rows->reserve(batch.steps.size());
  for (const SequenceStep& step : batch.steps) {
    rows->emplace_back();
    RETURN_IF_ERROR(ApplyStep(step, &rows->back()));
  }
  return Status::Ok();
}

Status SequenceMirror::ApplyStep(const SequenceStep& step, StepRows* rows) {
  const auto found = sequences_.find(step.id);
  if (found == sequences_.end()) return BadPlan(step.id, "came before its start");
  MirroredSequence& sequence = found->second;
  for (const int32_t block : step.new_block_ids) {
    if (block < 0 || block >= limits_.num_blocks) {
      return BadPlan(step.id,
                     "names block " + std::to_string(block) + " of " + std::to_string(limits_.num_blocks));
    }
    sequence.block_table.push_back(block);
  }
  if (step.num_new_tokens < 1 || step.first_position < 0) return BadPlan(step.id, "has no rows");
  const int64_t end = step.first_position + step.num_new_tokens;
  if ((end + limits_.block_size - 1) / limits_.block_size >
      static_cast<int64_t>(sequence.block_table.size())) {
    return BadPlan(step.id, "reaches position " + std::to_string(end - 1) + " with " +
                                std::to_string(sequence.block_table.size()) + " blocks");
  }

  rows->id = step.id;
  rows->sequence = &sequence;
  rows->num_rows = step.num_new_tokens;
  rows->first_position = step.first_position;
  rows->samples = step.samples;
  if (!step.token_ids.empty()) {
    if (static_cast<int32_t>(step.token_ids.size()) != step.num_new_tokens) {
      return BadPlan(step.id, "has " + std::to_string(step.token_ids.size()) + " tokens for " +
                                  std::to_string(step.num_new_tokens) + " rows");
    }
    for (const int32_t token : step.token_ids) {
      if (token < 0 || token >= limits_.num_embeddings) {
        return BadPlan(step.id, "has token " + std::to_string(token) + " of a vocabulary of " +
                                    std::to_string(limits_.num_embeddings));
      }
    }
    rows->token_ids = step.token_ids.data();
  } else if (sequence.stopped) {
    rows->skipped = true;
    return Status::Ok();
  } else {
    if (step.num_new_tokens != 1 || sequence.last_sampled < 0) {
      return BadPlan(step.id, "refers to a sampled token that there is not");
    }
    rows->token_ids = &sequence.last_sampled;
  }
  for (int32_t row = 0; row < rows->num_rows; ++row) {
    sequence.TellToken(rows->first_position + row, rows->token_ids[row]);
  }
  return Status::Ok();
}

}  // namespace phalanx
