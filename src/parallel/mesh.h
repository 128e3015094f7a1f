#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "parallel/parallel_layout.h"

namespace phalanx {

// A rank of the world, 0 .. world_size - 1. The index inside a group is a group_rank.
using Rank = int;

// Where a group of ranks acts together.
enum class ParallelDomain {
  kAttnDp,    // equal position in different data-parallel groups
  kAttnCp,    // pieces of one prompt
  kAttnTp,    // heads of attention; the dense MLP's and output projection's columns
  kAttnSp,    // tokens of the key/value cache inside a tensor-parallel group
  kMlpTp,     // dense MLP: the attention tp group
  kMoeTp,     // columns of an expert
  kMoeEp,     // experts
  kEmbedTp,   // embedding: the attention tp group
  kLmHeadTp,  // vocabulary of the LM head: the attention tp group
  kWorld,
};
inline constexpr ParallelDomain kAllParallelDomains[] = {
    ParallelDomain::kAttnDp,   ParallelDomain::kAttnCp, ParallelDomain::kAttnTp, ParallelDomain::kAttnSp,
    ParallelDomain::kMlpTp,    ParallelDomain::kMoeTp,  ParallelDomain::kMoeEp,  ParallelDomain::kEmbedTp,
    ParallelDomain::kLmHeadTp, ParallelDomain::kWorld,
};

// "attn_dp", "attn_tp", ...
std::string_view ParallelDomainName(ParallelDomain domain);

// A rank's place on every axis.
struct MeshCoordinates {
  int attn_dp = 0;
  int attn_cp = 0;
  int attn_tp = 0;
  int sp = 0;
  int moe_tp = 0;
  int moe_ep = 0;

  bool operator==(const MeshCoordinates&) const = default;
};

// The order of ranks, stated once: tp varies fastest, then cp, then dp; moe_tp fastest, then moe_ep. So the
// ranks of a data-parallel group are consecutive. Pure arithmetic; holds nothing but the layout.
class Mesh {
 public:
  explicit Mesh(const ParallelLayout& layout) : layout_(layout) {}

  const ParallelLayout& layout() const { return layout_; }
  int world_size() const { return layout_.world_size; }

  // Requires for all below: 0 <= rank < world_size.
  MeshCoordinates Coordinates(Rank rank) const;
  // The rank at these attention coordinates. Requires: each inside its size.
  Rank RankAt(int attn_dp, int attn_cp, int attn_tp) const;

  // Data-parallel group of `rank`, 0 .. attn_dp - 1.
  int DpGroup(Rank rank) const { return rank / RanksPerDpGroup(); }
  int RanksPerDpGroup() const { return layout_.attn_tp * layout_.attn_cp; }
  // The consecutive ranks of data-parallel group `dp_group`, all of its tp and cp.
  std::vector<Rank> DpGroupRanks(int dp_group) const;

  int GroupSize(ParallelDomain domain) const;
  int NumGroups(ParallelDomain domain) const { return world_size() / GroupSize(domain); }
  // Which of the domain's groups `rank` belongs to, and its position there.
  int GroupIndex(ParallelDomain domain, Rank rank) const;
  int GroupRank(ParallelDomain domain, Rank rank) const;
  // The group's ranks, in order of group_rank.
  std::vector<Rank> GroupMembers(ParallelDomain domain, Rank rank) const;

  // One line per rank with its coordinates, then the groups of every domain with more than one member.
  std::string ToString() const;

 private:
  // Contiguous: group i holds ranks i*size .. i*size + size - 1. Strided: group j of n holds j, j + n, j +
  // 2n, ...
  static bool IsStrided(ParallelDomain domain);

  ParallelLayout layout_;
};

}  // namespace phalanx
