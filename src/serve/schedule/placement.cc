#include "serve/schedule/placement.h"

#include <algorithm>
#include <tuple>

#include "base/check.h"

namespace phalanx {
namespace {

// Rows that the group computes until the new sequence has its first token: what is under way, the prompts
// before it, its own, and one row per decoding sequence in each of the steps that these prompts are spread
// over.
int64_t RowsToFirstToken(const PlacementContext& context, const GroupLoad& load) {
  const int64_t prompt_rows = load.backlog_tokens + context.num_tokens;
  const int64_t chunk = std::max<int64_t>(
      1, load.num_decoding > 0 ? std::min(context.prefill_chunk_tokens, context.max_step_tokens)
                               : context.max_step_tokens);
  const int64_t num_steps = (prompt_rows + chunk - 1) / chunk;
  return load.in_flight_tokens + prompt_rows + num_steps * load.num_decoding;
}

int64_t DistanceFromLast(const PlacementContext& context, const GroupLoad& load) {
  return (load.group - context.last_group - 1 + context.num_groups) % context.num_groups;
}

int64_t NumSequences(const PlacementContext&, const GroupLoad& load) {
  return load.num_sequences;
}

int64_t UsedBlocks(const PlacementContext&, const GroupLoad& load) {
  return load.used_blocks;
}

struct PolicyEntry {
  PlacementPolicy policy;
  std::string_view name;
  int64_t (*cost)(const PlacementContext&, const GroupLoad&);  // the smallest wins
};

constexpr PolicyEntry kPolicies[] = {
    {PlacementPolicy::kFirstToken, "first_token", RowsToFirstToken},
    {PlacementPolicy::kRoundRobin, "round_robin", DistanceFromLast},
    {PlacementPolicy::kShortestQueue, "shortest_queue", NumSequences},
    {PlacementPolicy::kFewestUsedBlocks, "fewest_used_blocks", UsedBlocks},
};

const PolicyEntry& Entry(PlacementPolicy policy) {
  for (const PolicyEntry& entry : kPolicies) {
    if (entry.policy == policy) return entry;
  }
  CHECK(false && "a placement policy without an entry in the table");
  return kPolicies[0];
}

}  // namespace

std::string_view PlacementPolicyName(PlacementPolicy policy) {
  return Entry(policy).name;
}

std::optional<PlacementPolicy> FindPlacementPolicy(std::string_view name) {
  for (const PolicyEntry& entry : kPolicies) {
    if (entry.name == name) return entry.policy;
  }
  return std::nullopt;
}

int32_t ChooseGroup(PlacementPolicy policy, const PlacementContext& context,
                    std::span<const GroupLoad> candidates) {
  CHECK(!candidates.empty());
  const PolicyEntry& entry = Entry(policy);
  const auto key = [&](const GroupLoad& load) {
    return std::make_tuple(entry.cost(context, load), load.used_blocks, load.group);
  };
  return std::min_element(candidates.begin(), candidates.end(),
                          [&](const GroupLoad& a, const GroupLoad& b) { return key(a) < key(b); })
      ->group;
}

}  // namespace phalanx
