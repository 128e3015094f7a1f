#include "parallel/parallel_layout.h"

#include <cstdint>
#include <vector>

namespace phalanx {
namespace {

std::string Sized(const char* key, int64_t value) {
  return std::string(key) + " " + std::to_string(value);
}

// The sizes on their way from the file to a layout, with every broken rule.
class LayoutBuilder {
 public:
  explicit LayoutBuilder(const ModelInstanceConfig& model) : model_(model) {}

  Result<ParallelLayout> Build() {
    CheckSizes();
    if (problems_.empty()) {
      DeriveAttention();
      DeriveExperts();
    }
    if (!problems_.empty()) return InvalidArgument(Lines());
    CheckSupported();
    if (!problems_.empty()) return Unimplemented(Lines());
    return layout_;
  }

 private:
  static constexpr int kOff = -1;
  static constexpr int kMaxWorldSize = 4096;

  void Problem(std::string text) { problems_.push_back(std::move(text)); }

  std::string Lines() const {
    std::string lines;
    for (const std::string& problem : problems_) lines += (lines.empty() ? "" : "\n") + problem;
    return lines;
  }

  void CheckSizes() {
    const std::pair<const char*, int> sizes[] = {{"tp", model_.tp},         {"dp", model_.dp},
                                                 {"cp", model_.cp},         {"sp", model_.sp},
                                                 {"moe_tp", model_.moe_tp}, {"moe_ep", model_.moe_ep}};
    if (model_.world_size < 1 || model_.world_size > kMaxWorldSize) {
      Problem("worldSize: found " + std::to_string(model_.world_size) + "; allowed: 1 to " +
              std::to_string(kMaxWorldSize));
    }
    for (const auto& [key, value] : sizes) {
      if ((value >= 1 && value <= kMaxWorldSize) || value == kOff) continue;
      Problem(std::string(key) + ": found " + std::to_string(value) + "; allowed: -1 (off) or 1 to " +
              std::to_string(kMaxWorldSize));
    }
  }

  void DeriveAttention() {
    const int64_t world = model_.world_size;
    const int64_t dp = model_.dp == kOff ? 1 : model_.dp;
    const int64_t cp = model_.cp == kOff ? 1 : model_.cp;
    // Without a whole number of ranks per group, tp 1 lets the rule below name the sizes.
    const int64_t derived_tp = world % (dp * cp) == 0 ? world / (dp * cp) : 1;
    const int64_t tp = model_.tp == kOff ? derived_tp : model_.tp;
    const int64_t sp = model_.sp == kOff ? 1 : model_.sp;
    if (dp > 1 && cp > 1) {
      Problem("dp, cp: found " + Sized("dp", dp) + " and " + Sized("cp", cp) +
              "; allowed: one of them, context and data parallelism don't go together");
    }
    if (tp * cp * dp != world) {
      Problem("tp, dp, cp: found " + Sized("tp", tp) + " x " + Sized("dp", dp) + " x " + Sized("cp", cp) +
              " = " + std::to_string(tp * cp * dp) + "; allowed: a product of " + Sized("worldSize", world));
    }
    if (sp != 1 && sp != tp) {
      Problem("sp: found " + std::to_string(sp) + "; allowed: 1 or the value of tp, " + std::to_string(tp));
    }
    if (cp > 1 && sp == 1 && tp > 1) {
      Problem("cp, sp: found " + Sized("cp", cp) + " with " + Sized("sp", sp) +
              "; allowed: cp above 1 only with sp = tp, " + std::to_string(tp));
    }
    layout_.world_size = model_.world_size;
    layout_.attn_dp = static_cast<int>(dp);
    layout_.attn_cp = static_cast<int>(cp);
    layout_.attn_tp = static_cast<int>(tp);
    layout_.sp = static_cast<int>(sp);
  }

  void DeriveExperts() {
    const int64_t world = model_.world_size;
    const int64_t ep = model_.moe_ep == kOff ? 1 : model_.moe_ep;
    const int64_t derived_tp = world % ep == 0 ? world / ep : 1;
    const int64_t tp = model_.moe_tp == kOff ? derived_tp : model_.moe_tp;
    if (tp * ep != world) {
      Problem("moe_tp, moe_ep: found " + Sized("moe_tp", tp) + " x " + Sized("moe_ep", ep) + " = " +
              std::to_string(tp * ep) + "; allowed: a product of " + Sized("worldSize", world));
    }
    layout_.moe_tp = static_cast<int>(tp);
    layout_.moe_ep = static_cast<int>(ep);
  }

  void CheckSupported() {
    if (layout_.attn_cp > 1)
      Problem("cp: found " + std::to_string(layout_.attn_cp) +
              ", which this version can't do: context parallelism comes later");
    if (layout_.sp > 1)
      Problem("sp: found " + std::to_string(layout_.sp) +
              ", which this version can't do: sequence parallelism comes later");
  }

  const ModelInstanceConfig& model_;
  ParallelLayout layout_;
  std::vector<std::string> problems_;
};

}  // namespace

Result<ParallelLayout> ParallelLayout::Create(const ModelInstanceConfig& model) {
  return LayoutBuilder(model).Build();
}

std::string ParallelLayout::ToString() const {
  std::string text = Sized("worldSize", world_size) + " = " + Sized("dp", attn_dp) + " x ";
  if (attn_cp > 1) text += Sized("cp", attn_cp) + " x ";
  text += Sized("tp", attn_tp);
  if (sp > 1) text += ", " + Sized("sp", sp);
  text += ", " + Sized("moe_tp", moe_tp);
  if (moe_ep > 1) text += " x " + Sized("moe_ep", moe_ep);
  return text;
}

Status CheckHeads(const ParallelLayout& layout, int num_heads, int num_kv_heads) {
  CHECK(num_heads > 0 && num_kv_heads > 0);
  const int tp = layout.attn_tp;
  if (num_heads % tp != 0) {
    return InvalidArgument("tp: found " + std::to_string(tp) + "; allowed: a divisor of the model's " +
                           std::to_string(num_heads) + " attention heads");
  }
  if (num_kv_heads % tp != 0 && tp % num_kv_heads != 0) {
    return InvalidArgument("tp: found " + std::to_string(tp) +
                           "; allowed: a divisor or a multiple of the model's " +
                           std::to_string(num_kv_heads) + " key/value heads");
  }
  return Status::Ok();
}

}  // namespace phalanx
