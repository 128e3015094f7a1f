#include "compute/sampling/ranked_row.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "base/check.h"

namespace phalanx {
namespace {

constexpr size_t kBlock = 128;

}  // namespace

std::span<const float> RankedRow::Block(size_t block) const {
  size_t begin = block * kBlock;
  return values_.subspan(begin, std::min(kBlock, values_.size() - begin));
}

void RankedRow::Reset(std::span<const float> values) {
  CHECK(!values.empty());
  values_ = values;
  block_sum_.clear();
  block_max_.resize((values.size() + kBlock - 1) / kBlock);
  best_ = {-std::numeric_limits<float>::infinity(), 0};
  for (size_t block = 0; block < block_max_.size(); ++block) {
    std::span<const float> part = Block(block);
    RowMax max = kernels_->row_max(part.data(), static_cast<int64_t>(part.size()));
    block_max_[block] = max.value;
    if (max.value > best_.value) best_ = {max.value, static_cast<int32_t>(block * kBlock) + max.index};
  }
}

double RankedRow::SumExp() {
  block_sum_.resize(block_max_.size());
  double sum = 0;
  for (size_t block = 0; block < block_sum_.size(); ++block) {
    std::span<const float> part = Block(block);
    block_sum_[block] = kernels_->sum_exp(part.data(), static_cast<int64_t>(part.size()), best_.value);
    sum += block_sum_[block];
  }
  return sum;
}

int32_t RankedRow::TokenAtSum(double target) {
  if (block_sum_.empty()) SumExp();
  double before = 0;
  size_t block = 0, last = 0;
  for (; block < block_sum_.size(); ++block) {
    if (block_sum_[block] > 0) last = block;
    if (before + block_sum_[block] > target) break;
    before += block_sum_[block];
  }
  if (block == block_sum_.size()) {
    block = last;
    target = std::numeric_limits<double>::infinity();
  }
  std::span<const float> part = Block(block);
  int32_t token = best_.token_id;
  for (size_t i = 0; i < part.size(); ++i) {
    float weight = kernels_->sum_exp(&part[i], 1, best_.value);
    if (weight > 0) token = static_cast<int32_t>(block * kBlock + i);
    before += weight;
    if (before > target) break;
  }
  return token;
}

const std::vector<Candidate>& RankedRow::Top(int64_t k) {
  size_t wanted = std::min(static_cast<size_t>(k), values_.size());
  float threshold = -std::numeric_limits<float>::infinity();
  // The wanted-th largest of the blocks' maxima: at least so many tokens reach it.
  if (wanted <= block_max_.size()) {
    scratch_ = block_max_;
    auto nth = scratch_.begin() + static_cast<std::ptrdiff_t>(wanted - 1);
    std::nth_element(scratch_.begin(), nth, scratch_.end(), std::greater<>());
    threshold = *nth;
  }
  std::vector<Candidate>& top = AtLeast(threshold);
  auto end = top.begin() + static_cast<std::ptrdiff_t>(std::min(wanted, top.size()));
  if (end != top.end()) std::nth_element(top.begin(), end - 1, top.end(), RanksBefore);
  std::sort(top.begin(), end, RanksBefore);
  top.erase(end, top.end());
  return top;
}

std::vector<Candidate>& RankedRow::AtLeast(float threshold) {
  candidates_.clear();
  for (size_t block = 0; block < block_max_.size(); ++block) {
    if (!(block_max_[block] >= threshold)) continue;
    std::span<const float> part = Block(block);
    for (size_t i = 0; i < part.size(); ++i) {
      if (part[i] >= threshold) candidates_.push_back({part[i], static_cast<int32_t>(block * kBlock + i)});
    }
  }
  return candidates_;
}

}  // namespace phalanx
