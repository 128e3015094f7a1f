#include "compute/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/check.h"
#include "compute/sampling/philox.h"
#include "compute/sampling/ranked_row.h"
#include "compute/sampling/token_counts.h"

// The arithmetic, so that the draw is a function of logits and (seed, choice, position) to the bit:
//   z = logits after penalties (token_counts.h); x = z * (1 / temperature) in fp32; w = Exp(x - max x) of the kernel table.
//   Tokens rank by x, the lower id first among equals. top-k keeps the first k; top-p the shortest run from the first on
//   whose weights reach p times the weights of what top-k left; min-p the run whose weights are at least min_p.
//   The draw walks the kept tokens in rank order, adding weights in doubles, up to u times their sum. If nothing was
//   filtered it walks all tokens in order of ids instead, which needs no ranks.
// No filter needs a sorted vocabulary: each looks at the candidates above a threshold that surely contains its run.

namespace phalanx {
namespace {

// Below it, 1 / temperature leaves the range in which the logits' differences mean anything.
constexpr float kSmallestTemperature = 1e-5f;

// How far below the best value the run of top-p is looked for, in turn.
constexpr float kReaches[] = {2, 5, 10, 20};

bool IsGreedy(const SamplingParams& params) {
  return params.temperature < kSmallestTemperature;
}

}  // namespace

struct SamplingState::State {
  SamplingParams params;
  int32_t choice;
  int32_t num_prompt_tokens;
  bool counts_tokens;
  int64_t next_position = 0;
  TokenCounts counts;
};

SamplingState::SamplingState(const SamplingParams& params, int32_t choice, int32_t num_prompt_tokens, int32_t)
    : state_(new State{.params = params,
                       .choice = choice,
                       .num_prompt_tokens = num_prompt_tokens,
                       .counts_tokens = HasPenalties(params),
                       .counts = {}}) {}
SamplingState::~SamplingState() = default;
SamplingState::SamplingState(SamplingState&&) noexcept = default;
SamplingState& SamplingState::operator=(SamplingState&&) noexcept = default;

const SamplingParams& SamplingState::params() const {
  return state_->params;
}

void SamplingState::AddToken(int64_t position, int32_t token_id) {
  if (position < state_->next_position) return;  // a step that was repeated
  CHECK(position == state_->next_position);
  ++state_->next_position;
  if (state_->counts_tokens) state_->counts.Add(token_id, position >= state_->num_prompt_tokens);
}

struct Sampler::Scratch {
  Scratch(const KernelTable* table, int32_t vocabulary)
      : kernels(table), vocab_size(vocabulary), row(table) {}

  // The tokens that the filters leave, in rank order, and the sum of their weights.
  struct Kept {
    const std::vector<Candidate>* tokens;
    size_t size;
    double sum;
  };

  float Weight(float x, float max) const { return kernels->sum_exp(&x, 1, max); }
  std::span<const float> Scale(std::span<const float> logits, float temperature);
  Kept Filter(const SamplingParams& params);
  const std::vector<Candidate>& Candidates(const SamplingParams& params, double total);
  TokenLogprobs Logprobs(std::span<const float> logits, int32_t token_id, int32_t num_top);

  const KernelTable* kernels;
  int32_t vocab_size;
  RankedRow row;
  std::vector<float> scaled;
  std::vector<float> weights;  // of the candidates
};

Sampler::Sampler(const KernelTable* kernels, int32_t vocab_size)
    : scratch_(new Scratch(kernels, vocab_size)) {}
Sampler::~Sampler() = default;

// The logits themselves at temperature 1.
std::span<const float> Sampler::Scratch::Scale(std::span<const float> logits, float temperature) {
  if (temperature == 1.0f) return logits;
  const float factor = 1.0f / temperature;
  scaled.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) scaled[i] = logits[i] * factor;
  return scaled;
}

// In rank order, enough of the best tokens for the filters of `params`; some filter must be on. `total`: sum of weights
// of the row, used by top-p without top-k.
const std::vector<Candidate>& Sampler::Scratch::Candidates(const SamplingParams& params, double total) {
  if (params.top_k > 0) return row.Top(params.top_k);
  const float max = row.best().value;
  // One below what min-p needs, so that rounding can't hide a token from it.
  const float floor =
      params.min_p > 0 ? max + std::log(params.min_p) - 1.0f : -std::numeric_limits<float>::infinity();
  std::vector<Candidate>* found = nullptr;
  if (params.top_p < 1) {
    for (float reach : kReaches) {
      if (max - reach <= floor) break;
      found = &row.AtLeast(max - reach);
      double sum = 0;
      for (const Candidate& candidate : *found) sum += Weight(candidate.value, max);
      // The margin covers the two orders of summation.
      if (sum * (1 - 1e-9) >= params.top_p * total) break;
      found = nullptr;
    }
  }
  if (found == nullptr) found = &row.AtLeast(floor);
  std::sort(found->begin(), found->end(), RanksBefore);
  return *found;
}

Sampler::Scratch::Kept Sampler::Scratch::Filter(const SamplingParams& params) {
  const float max = row.best().value;
  double total = params.top_p < 1 && params.top_k <= 0 ? row.SumExp() : 0;
  const std::vector<Candidate>& candidates = Candidates(params, total);
  weights.clear();
  for (const Candidate& candidate : candidates) weights.push_back(Weight(candidate.value, max));
  if (params.top_k > 0) {
    for (float weight : weights) total += weight;
  }
  const double enough = params.top_p < 1 ? params.top_p * total : std::numeric_limits<double>::infinity();
  Kept kept = {&candidates, 0, 0};
  while (kept.size < candidates.size() && weights[kept.size] > 0 && weights[kept.size] >= params.min_p) {
    kept.sum += weights[kept.size++];
    if (kept.sum >= enough) break;
  }
  return kept;
}

int32_t Sampler::Sample(std::span<float> logits, const SamplingState& state, int64_t position,
                        TokenLogprobs* logprobs) {
  const SamplingParams& params = state.params();
  Scratch& s = *scratch_;
  CHECK(logits.size() >= static_cast<size_t>(s.vocab_size));
  logits = logits.first(static_cast<size_t>(s.vocab_size));
  if (state.state_->counts_tokens) state.state_->counts.Penalise(params, logits);

  auto choose = [&]() -> int32_t {
    if (IsGreedy(params)) return s.kernels->row_max(logits.data(), s.vocab_size).index;
    s.row.Reset(s.Scale(logits, params.temperature));
    const double u = UniformOf(params.seed, state.state_->choice, position);
    if (params.top_k <= 0 && params.top_p >= 1 && params.min_p <= 0)
      return s.row.TokenAtSum(u * s.row.SumExp());
    Scratch::Kept kept = s.Filter(params);
    if (kept.size == 0) return s.row.best().token_id;
    double sum = 0;
    size_t at = 0;
    while (at + 1 < kept.size && (sum += s.weights[at]) <= u * kept.sum) ++at;
    return (*kept.tokens)[at].token_id;
  };
  const int32_t token = choose();
  if (params.num_logprobs >= 0 && logprobs != nullptr)
    *logprobs = s.Logprobs(logits, token, params.num_logprobs);
  return token;
}

TokenLogprobs Sampler::Scratch::Logprobs(std::span<const float> logits, int32_t token_id, int32_t num_top) {
  row.Reset(logits);
  const double log_total = row.best().value + std::log(row.SumExp());
  auto logprob = [&](float z) { return static_cast<float>(z - log_total); };
  TokenLogprobs result;
  result.token_id = token_id;
  result.logprob = logprob(logits[static_cast<size_t>(token_id)]);
  if (num_top > 0) {
    for (const Candidate& candidate : row.Top(num_top)) {
      result.top.push_back({candidate.token_id, logprob(candidate.value)});
    }
  }
  return result;
}

TokenLogprobs Sampler::Logprobs(std::span<const float> logits, int32_t token_id, int32_t num_top) {
  CHECK(token_id >= 0 && token_id < scratch_->vocab_size);
  return scratch_->Logprobs(logits.first(static_cast<size_t>(scratch_->vocab_size)), token_id, num_top);
}

}  // namespace phalanx
