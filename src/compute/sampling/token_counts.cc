#include "compute/sampling/token_counts.h"

namespace phalanx {

void TokenCounts::Add(int32_t token_id, bool is_output) {
  auto [at, is_new] = index_.try_emplace(token_id, entries_.size());
  if (is_new) entries_.push_back({token_id, 0});
  if (is_output) ++entries_[at->second].output_count;
}

void TokenCounts::Penalise(const SamplingParams& params, std::span<float> logits) const {
  for (const Entry& entry : entries_) {
    if (static_cast<size_t>(entry.token_id) >= logits.size()) continue;
    float z = logits[static_cast<size_t>(entry.token_id)];
    z = z > 0 ? z / params.repetition_penalty : z * params.repetition_penalty;
    if (entry.output_count > 0) {
      z -= params.frequency_penalty * static_cast<float>(entry.output_count);
      z -= params.presence_penalty;
    }
    logits[static_cast<size_t>(entry.token_id)] = z;
  }
}

bool HasPenalties(const SamplingParams& params) {
  return params.repetition_penalty != 1.0f || params.presence_penalty != 0.0f ||
         params.frequency_penalty != 0.0f;
}

}  // namespace phalanx
