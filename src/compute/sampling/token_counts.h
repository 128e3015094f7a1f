#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "plan/request.h"

namespace phalanx {

// Which tokens a sequence has, and how often in its output: what the three penalties need. Sparse, because a sequence
// has far fewer different tokens than the vocabulary.
class TokenCounts {
 public:
  void Add(int32_t token_id, bool is_output);
  // Changes the logits of the tokens seen, in fp32: z = z > 0 ? z / repetition : z * repetition; then, for tokens of the
  // output, z -= frequency * count; z -= presence. Tokens beyond the logits are left out.
  void Penalise(const SamplingParams& params, std::span<float> logits) const;

 private:
  struct Entry {
    int32_t token_id;
    int32_t output_count;
  };
  std::vector<Entry> entries_;
  std::unordered_map<int32_t, size_t> index_;  // token -> entries_
};

// Whether any penalty of `params` is on.
bool HasPenalties(const SamplingParams& params);

}  // namespace phalanx
