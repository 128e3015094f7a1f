#include "parallel/mesh.h"

#include <iomanip>
#include <sstream>

#include "base/check.h"

namespace phalanx {

std::string_view ParallelDomainName(ParallelDomain domain) {
  switch (domain) {
    case ParallelDomain::kAttnDp:
      return "attn_dp";
    case ParallelDomain::kAttnCp:
      return "attn_cp";
    case ParallelDomain::kAttnTp:
      return "attn_tp";
    case ParallelDomain::kAttnSp:
      return "attn_sp";
    case ParallelDomain::kMlpTp:
      return "mlp_tp";
    case ParallelDomain::kMoeTp:
      return "moe_tp";
    case ParallelDomain::kMoeEp:
      return "moe_ep";
    case ParallelDomain::kEmbedTp:
      return "embed_tp";
    case ParallelDomain::kLmHeadTp:
      return "lm_head_tp";
    case ParallelDomain::kWorld:
      return "world";
  }
  return "";
}

bool Mesh::IsStrided(ParallelDomain domain) {
  return domain == ParallelDomain::kAttnDp || domain == ParallelDomain::kAttnCp ||
         domain == ParallelDomain::kMoeEp;
}

MeshCoordinates Mesh::Coordinates(Rank rank) const {
  DCHECK(rank >= 0 && rank < world_size());
  return {.attn_dp = DpGroup(rank),
          .attn_cp = rank / layout_.attn_tp % layout_.attn_cp,
          .attn_tp = rank % layout_.attn_tp,
          .sp = rank % layout_.sp,
          .moe_tp = rank % layout_.moe_tp,
          .moe_ep = rank / layout_.moe_tp};
}

Rank Mesh::RankAt(int attn_dp, int attn_cp, int attn_tp) const {
  DCHECK(attn_dp >= 0 && attn_dp < layout_.attn_dp);
  DCHECK(attn_cp >= 0 && attn_cp < layout_.attn_cp);
  DCHECK(attn_tp >= 0 && attn_tp < layout_.attn_tp);
  return (attn_dp * layout_.attn_cp + attn_cp) * layout_.attn_tp + attn_tp;
}

std::vector<Rank> Mesh::DpGroupRanks(int dp_group) const {
  DCHECK(dp_group >= 0 && dp_group < layout_.attn_dp);
  std::vector<Rank> ranks;
  for (int i = 0; i < RanksPerDpGroup(); ++i) ranks.push_back(dp_group * RanksPerDpGroup() + i);
  return ranks;
}

int Mesh::GroupSize(ParallelDomain domain) const {
  switch (domain) {
    case ParallelDomain::kAttnDp:
      return layout_.attn_dp;
    case ParallelDomain::kAttnCp:
      return layout_.attn_cp;
    case ParallelDomain::kAttnSp:
      return layout_.sp;
    case ParallelDomain::kMoeTp:
      return layout_.moe_tp;
    case ParallelDomain::kMoeEp:
      return layout_.moe_ep;
    case ParallelDomain::kWorld:
      return layout_.world_size;
    case ParallelDomain::kAttnTp:
    case ParallelDomain::kMlpTp:
    case ParallelDomain::kEmbedTp:
    case ParallelDomain::kLmHeadTp:
      return layout_.attn_tp;
  }
  return 1;
}

int Mesh::GroupIndex(ParallelDomain domain, Rank rank) const {
  DCHECK(rank >= 0 && rank < world_size());
  return IsStrided(domain) ? rank % NumGroups(domain) : rank / GroupSize(domain);
}

int Mesh::GroupRank(ParallelDomain domain, Rank rank) const {
  DCHECK(rank >= 0 && rank < world_size());
  return IsStrided(domain) ? rank / NumGroups(domain) : rank % GroupSize(domain);
}

std::vector<Rank> Mesh::GroupMembers(ParallelDomain domain, Rank rank) const {
  const bool strided = IsStrided(domain);
  const int group = GroupIndex(domain, rank);
  const int step = strided ? NumGroups(domain) : 1;
  const int first = strided ? group : group * GroupSize(domain);
  std::vector<Rank> members;
  for (int i = 0; i < GroupSize(domain); ++i) members.push_back(first + i * step);
  return members;
}

std::string Mesh::ToString() const {
  std::ostringstream out;
  out << layout_.ToString() << "\n rank   dp   cp   tp   sp  moe_tp  moe_ep\n";
  for (Rank rank = 0; rank < world_size(); ++rank) {
    const MeshCoordinates at = Coordinates(rank);
    out << std::setw(5) << rank << std::setw(5) << at.attn_dp << std::setw(5) << at.attn_cp << std::setw(5)
        << at.attn_tp << std::setw(5) << at.sp << std::setw(8) << at.moe_tp << std::setw(8) << at.moe_ep
        << "\n";
  }
  for (ParallelDomain domain : kAllParallelDomains) {
    if (GroupSize(domain) == 1) continue;
    out << ParallelDomainName(domain) << ":";
    for (Rank rank = 0; rank < world_size(); ++rank) {
      if (GroupRank(domain, rank) != 0) continue;
      out << " {";
      const std::vector<Rank> members = GroupMembers(domain, rank);
      for (size_t i = 0; i < members.size(); ++i) out << (i > 0 ? "," : "") << members[i];
      out << "}";
    }
    out << "\n";
  }
  return out.str();
}

}  // namespace phalanx
