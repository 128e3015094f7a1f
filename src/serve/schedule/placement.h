#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace phalanx {

// How the group of a new request is chosen among those that have room for it.
enum class PlacementPolicy : uint8_t {
  kFirstToken,     // the group where its first token is predicted to be finished first (the default)
  kRoundRobin,     // the next one
  kShortestQueue,  // fewest sequences
  kFewestUsedBlocks,
};

// The exact state of one group at the moment of placement.
struct GroupLoad {
  int32_t group = 0;
  int64_t backlog_tokens = 0;    // tokens of placed sequences that no step has been planned for yet
  int64_t in_flight_tokens = 0;  // rows of the group in the steps under way
  int64_t num_sequences = 0;     // that hold blocks
  int64_t num_decoding = 0;      // of them, those that take one row of every step
  int64_t used_blocks = 0;
};

// What is placed, and the facts that the prediction needs.
struct PlacementContext {
  int64_t num_tokens = 0;  // of the new sequence
  int64_t max_step_tokens = 1;
  int64_t prefill_chunk_tokens = 1;
  int32_t num_groups = 1;
  int32_t last_group = -1;  // the group of the placement before
};

// "first_token", "round_robin", "shortest_queue", "fewest_used_blocks".
std::string_view PlacementPolicyName(PlacementPolicy policy);
std::optional<PlacementPolicy> FindPlacementPolicy(std::string_view name);

// The group of the best candidate; ties go to the one with fewer used blocks, then to the lower index.
// Requires: at least one candidate.
int32_t ChooseGroup(PlacementPolicy policy, const PlacementContext& context,
                    std::span<const GroupLoad> candidates);

}  // namespace phalanx
