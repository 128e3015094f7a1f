#pragma once

#include <string>

#include "base/status.h"
#include "config/serve_config.h"

namespace phalanx {

// The validated parallel sizes of one model instance. A plain value; equal sizes mean equal layouts.
//   attn_dp * attn_cp * attn_tp = world_size, moe_ep * moe_tp = world_size.
// The dense MLP and the LM head are split like attention: over attn_tp, inside the data-parallel group.
struct ParallelLayout {
  int world_size = 1;
  int attn_tp = 1;
  int attn_dp = 1;
  int attn_cp = 1;
  int sp = 1;  // 1 or attn_tp: keys and values of a tp group are split by tokens
  int moe_tp = 1;
  int moe_ep = 1;

  // Sizes that are absent or -1 in `model` are derived: dp, cp, sp, moe_ep are 1, tp is worldSize / (dp *
  // cp), moe_tp is worldSize / moe_ep. Pipeline stages (pp) are refused by the loader. Errors: InvalidArgument with all broken rules at once, one line each,
  // naming the fields and their values; Unimplemented for a valid layout that this version cannot run (cp or
  // sp above 1).
  static Result<ParallelLayout> Create(const ModelInstanceConfig& model);

  // "worldSize 8 = dp 2 x tp 4, moe_tp 8".
  std::string ToString() const;

  bool operator==(const ParallelLayout&) const = default;
};

// Whether attention heads can be shared out over attn_tp: num_heads must divide evenly; key/value heads must
// divide evenly too, or attn_tp must be a multiple of them (they are then replicated). Requires: num_heads >
// 0, num_kv_heads > 0. Error: InvalidArgument naming tp and the heads.
Status CheckHeads(const ParallelLayout& layout, int num_heads, int num_kv_heads);

}  // namespace phalanx
