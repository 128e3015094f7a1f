#include "compute/sampling/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <random>

#include "compute/kernels/kernel_table.h"
#include "compute/sampling/philox.h"
#include "compute/sampling/ranked_row.h"

namespace phalanx {
namespace {

const KernelTable* Kernels() {
  return SelectKernels("").value();
}

std::vector<float> RandomLogits(int64_t n, uint32_t seed, float spread) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(static_cast<size_t>(n));
  for (float& z : logits) z = normal(random);
  return logits;
}

int32_t Sample(std::vector<float> logits, const SamplingParams& params, int32_t choice = 0,
               int64_t position = 0) {
  Sampler sampler(Kernels(), static_cast<int32_t>(logits.size()));
  SamplingState state(params, choice, 0, static_cast<int32_t>(logits.size()));
  return sampler.Sample(logits, state, position, nullptr);
}

// The rules of sampler.cc over a fully sorted row.
int32_t Oracle(const std::vector<float>& logits, const SamplingParams& params, int32_t choice,
               int64_t position) {
  std::vector<Candidate> row;
  for (size_t i = 0; i < logits.size(); ++i) {
    float x = params.temperature == 1.0f ? logits[i] : logits[i] * (1.0f / params.temperature);
    row.push_back({x, static_cast<int32_t>(i)});
  }
  std::vector<Candidate> by_id = row;
  std::sort(row.begin(), row.end(), RanksBefore);
  const float max = row[0].value;
  auto weight = [&](const Candidate& c) { return Kernels()->sum_exp(&c.value, 1, max); };
  const double u = UniformOf(params.seed, choice, position);
  const bool filters = params.top_k > 0 || params.top_p < 1 || params.min_p > 0;
  if (params.top_k > 0 && row.size() > static_cast<size_t>(params.top_k))
    row.resize(static_cast<size_t>(params.top_k));
  double total = 0;
  if (filters && params.top_k <= 0) {
    std::vector<float> x;
    for (const Candidate& c : by_id) x.push_back(c.value);
    for (size_t i = 0; i < x.size(); i += 128) {
      total += Kernels()->sum_exp(&x[i], static_cast<int64_t>(std::min<size_t>(128, x.size() - i)), max);
    }
  } else {
    for (const Candidate& c : row) total += weight(c);
  }
  size_t size = 0;
  double sum = 0;
  while (size < row.size()) {
    if (weight(row[size]) < params.min_p || weight(row[size]) <= 0) break;
    sum += weight(row[size++]);
    if (params.top_p < 1 && sum >= params.top_p * total) break;
  }
  row.resize(size);
  if (!filters) row = by_id;
  double walked = 0;
  int32_t last = row[0].token_id;
  for (const Candidate& c : row) {
    if (weight(c) > 0) last = c.token_id;
    walked += weight(c);
    if (walked > u * sum) break;
  }
  return last;
}

TEST(PhiloxTest, KnownAnswers) {
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(Philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t k = 0xffffffff;
  EXPECT_EQ(Philox({k, k, k, k}, {k, k}), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(SamplerTest, GreedyTakesTheLowestIdOfTheBest) {
  std::vector<float> logits(1000, -1.0f);
  logits[700] = logits[300] = logits[999] = 2.5f;
  EXPECT_EQ(Sample(logits, {.temperature = 0}), 300);
  EXPECT_EQ(Sample(logits, {.temperature = 0, .top_k = 2, .top_p = 0.1f, .seed = 9}), 300);
  EXPECT_EQ(Sample(logits, {.temperature = 1, .top_k = 1}), 300);
  EXPECT_EQ(Sample(logits, {.temperature = 0.7f, .top_p = 1e-6f}), 300);
  EXPECT_EQ(Sample(logits, {.temperature = 1e-30f}), 300);
}

TEST(SamplerTest, PaddingIsNeverSampled) {
  std::vector<float> logits(40, 0.0f);
  for (size_t i = 30; i < 40; ++i) logits[i] = 50.0f;
  Sampler sampler(Kernels(), 30);
  for (float temperature : {0.0f, 1.0f}) {
    for (int64_t position = 0; position < 50; ++position) {
      SamplingState state({.temperature = temperature}, 0, 0, 30);
      std::vector<float> row = logits;
      EXPECT_LT(sampler.Sample(row, state, position, nullptr), 30);
    }
  }
}

TEST(SamplerTest, EqualsTheSortedOracle) {
  int row = 0;
  for (int64_t vocabulary : {1, 2, 127, 1000, 8000}) {
    for (float spread : {0.0f, 0.3f, 3.0f, 12.0f}) {
      std::vector<float> logits = RandomLogits(vocabulary, static_cast<uint32_t>(++row), spread);
      if (vocabulary > 100) {
        for (size_t i = 0; i < 30; ++i) logits[(i * 37) % 101] = logits[5];  // ties
      }
      for (float temperature : {0.3f, 1.0f, 1.7f}) {
        for (int32_t top_k : {0, 1, 7, 500, 5000}) {
          for (float top_p : {1.0f, 0.999f, 0.9f, 0.3f}) {
            for (float min_p : {0.0f, 0.02f, 1.0f}) {
              SamplingParams params{
                  .temperature = temperature, .top_k = top_k, .top_p = top_p, .min_p = min_p};
              params.seed = static_cast<uint64_t>(row) * 77;
              for (int64_t position : {3, 4}) {
                ASSERT_EQ(Sample(logits, params, 1, position), Oracle(logits, params, 1, position))
                    << "vocabulary " << vocabulary << " spread " << spread << " temperature " << temperature
                    << " top_k " << top_k << " top_p " << top_p << " min_p " << min_p;
              }
            }
          }
        }
      }
    }
  }
}

// Chi-square of `draws` samples against the exact probabilities of the kept tokens.
void ExpectDistribution(const std::vector<float>& logits, const SamplingParams& base,
                        const std::map<int32_t, double>& want) {
  constexpr int kDraws = 20000;
  std::map<int32_t, int> count;
  Sampler sampler(Kernels(), static_cast<int32_t>(logits.size()));
  SamplingState state(base, 0, 0, static_cast<int32_t>(logits.size()));
  for (int64_t position = 0; position < kDraws; ++position) {
    std::vector<float> row = logits;
    ++count[sampler.Sample(row, state, position, nullptr)];
  }
  double chi_square = 0;
  for (auto [token, drawn] : count)
    EXPECT_TRUE(want.count(token)) << "token " << token << " was filtered out";
  for (auto [token, probability] : want) {
    double expected = probability * kDraws;
    chi_square += (count[token] - expected) * (count[token] - expected) / expected;
  }
  // Mean and deviation of chi-square with this many degrees of freedom, five deviations off.
  double freedom = static_cast<double>(want.size()) - 1;
  EXPECT_LT(chi_square, freedom + 5 * std::sqrt(2 * freedom) + 5);
}

std::map<int32_t, double> Probabilities(const std::vector<float>& logits, float temperature,
                                        const std::vector<int32_t>& kept) {
  std::map<int32_t, double> result;
  double sum = 0;
  for (int32_t token : kept)
    sum += result[token] = std::exp(double{logits[static_cast<size_t>(token)]} / temperature);
  for (auto& [token, probability] : result) probability /= sum;
  return result;
}

TEST(SamplerTest, DrawsFollowTheProbabilities) {
  std::vector<float> logits = {1.0f, 0.0f, 2.0f, -1.0f, 1.5f, 0.5f};
  for (uint64_t seed : {1, 2, 3}) {
    ExpectDistribution(logits, {.seed = seed}, Probabilities(logits, 1, {0, 1, 2, 3, 4, 5}));
    ExpectDistribution(logits, {.temperature = 0.5f, .seed = seed},
                       Probabilities(logits, 0.5f, {0, 1, 2, 3, 4, 5}));
    ExpectDistribution(logits, {.top_k = 3, .seed = seed}, Probabilities(logits, 1, {2, 4, 0}));
    // Probabilities in order: 0.407 0.247 0.150 0.091 0.055 0.020 (of 0.97): 0.7 needs three tokens.
    ExpectDistribution(logits, {.top_p = 0.7f, .seed = seed}, Probabilities(logits, 1, {2, 4, 0}));
    // exp(-1) = 0.37 of the best is kept, exp(-1.5) = 0.22 is not.
    ExpectDistribution(logits, {.min_p = 0.3f, .seed = seed}, Probabilities(logits, 1, {2, 4, 0}));
    // top-p acts on what top-k left: of the best two, 0.62 : 0.38, 0.6 needs one.
    ExpectDistribution(logits, {.top_k = 2, .top_p = 0.6f, .seed = seed}, Probabilities(logits, 1, {2}));
  }
  std::vector<float> flat(300, 0.25f);
  std::vector<int32_t> all;
  for (int32_t i = 0; i < 300; ++i) all.push_back(i);
  ExpectDistribution(flat, {.seed = 4}, Probabilities(flat, 1, all));
}

TEST(SamplerTest, DrawDependsOnSeedChoiceAndPositionAlone) {
  std::vector<float> logits = RandomLogits(500, 1, 1.0f);
  SamplingParams params{.seed = 42};
  std::vector<int32_t> first;
  for (int64_t position = 0; position < 40; ++position) first.push_back(Sample(logits, params, 0, position));
  Sampler crowded(Kernels(), 500);
  for (int64_t position = 39; position >= 0; --position) {
    std::vector<float> other = RandomLogits(500, static_cast<uint32_t>(position), 2.0f), row = logits;
    SamplingState other_state({.top_p = 0.5f, .seed = 1}, 0, 0, 500), state(params, 0, 0, 500);
    crowded.Sample(other, other_state, 7, nullptr);
    EXPECT_EQ(crowded.Sample(row, state, position, nullptr), first[static_cast<size_t>(position)]);
  }
  auto differs = [&](const SamplingParams& p, int32_t choice, int64_t shift) {
    int different = 0;
    for (int64_t position = 0; position < 40; ++position) {
      different += Sample(logits, p, choice, position + shift) != first[static_cast<size_t>(position)];
    }
    return different > 30;
  };
  EXPECT_TRUE(differs({.seed = 43}, 0, 0));
  EXPECT_TRUE(differs({.seed = 42 + (uint64_t{1} << 40)}, 0, 0));
  EXPECT_TRUE(differs(params, 1, 0));
  EXPECT_TRUE(differs(params, 0, 1000));
}

TEST(SamplerTest, PenaltiesChangeTheTokensSeen) {
  const std::vector<float> logits = {2.0f, -1.0f, 3.0f, 0.5f, 0.0f, 1.0f};
  auto penalised = [&](const SamplingParams& params) {
    SamplingState state(params, 0, 2, 6);
    int32_t tokens[] = {0, 1, 2, 2, 3};  // prompt 0 1, output 2 2 3
    for (int64_t i = 0; i < 5; ++i) state.AddToken(i, tokens[i]);
    state.AddToken(4, 3);  // a repeated step
    std::vector<float> row = logits;
    Sampler(Kernels(), 6).Sample(row, state, 5, nullptr);
    return row;
  };
  using Row = std::vector<float>;
  EXPECT_EQ(penalised({.temperature = 0}), logits);
  EXPECT_EQ(penalised({.temperature = 0, .repetition_penalty = 2}),
            (Row{1.0f, -2.0f, 1.5f, 0.25f, 0.0f, 1.0f}));
  EXPECT_EQ(penalised({.temperature = 0, .presence_penalty = 0.5f}),
            (Row{2.0f, -1.0f, 2.5f, 0.0f, 0.0f, 1.0f}));
  EXPECT_EQ(penalised({.temperature = 0, .frequency_penalty = 0.5f}),
            (Row{2.0f, -1.0f, 2.0f, 0.0f, 0.0f, 1.0f}));
  EXPECT_EQ(
      penalised(
          {.temperature = 0, .repetition_penalty = 2, .presence_penalty = 0.5f, .frequency_penalty = -1}),
      (Row{1.0f, -2.0f, 3.0f, 0.75f, 0.0f, 1.0f}));
}

TEST(SamplerTest, LogprobsBelongToThePenalisedLogitsBeforeTemperature) {
  const std::vector<float> logits = RandomLogits(3000, 8, 3.0f);
  Sampler sampler(Kernels(), 3000);
  for (float temperature : {0.0f, 0.5f, 1.0f}) {
    SamplingParams params{
        .temperature = temperature, .top_p = 0.9f, .presence_penalty = 1, .num_logprobs = 5};
    SamplingState state(params, 0, 0, 3000);
    const int32_t best =
        static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    state.AddToken(0, best);
    std::vector<float> row = logits, want = logits;
    want[static_cast<size_t>(best)] -= 1;
    TokenLogprobs got;
    int32_t token = sampler.Sample(row, state, 1, &got);
    EXPECT_EQ(got.token_id, token);
    double sum = 0;
    std::vector<Candidate> order;
    for (size_t i = 0; i < want.size(); ++i) {
      sum += std::exp(double{want[i]});
      order.push_back({want[i], static_cast<int32_t>(i)});
    }
    std::sort(order.begin(), order.end(), RanksBefore);
    EXPECT_NEAR(got.logprob, want[static_cast<size_t>(token)] - std::log(sum), 2e-6);
    ASSERT_EQ(got.top.size(), 5u);
    for (size_t i = 0; i < 5; ++i) {
      EXPECT_EQ(got.top[i].token_id, order[i].token_id);
      EXPECT_NEAR(got.top[i].logprob, order[i].value - std::log(sum), 2e-6);
    }
    TokenLogprobs given = sampler.Logprobs(want, 17, 0);
    EXPECT_NEAR(given.logprob, want[17] - std::log(sum), 3e-6);
    EXPECT_TRUE(given.top.empty());
  }
}

// Every kernel table samples the same tokens: the weights have the same bits.
TEST(SamplerTest, KernelTablesAgree) {
  std::vector<float> logits = RandomLogits(5000, 3, 2.5f);
  for (std::string_view name : KernelTableNames()) {
    if (!KernelTableRuns(name)) continue;
    Sampler sampler(SelectKernels(name).value(), 5000);
    for (const SamplingParams& params :
         {SamplingParams{}, SamplingParams{.top_p = 0.95f}, SamplingParams{.top_k = 50}}) {
      SamplingState state(params, 0, 0, 5000);
      for (int64_t position = 0; position < 20; ++position) {
        std::vector<float> row = logits;
        EXPECT_EQ(sampler.Sample(row, state, position, nullptr), Sample(logits, params, 0, position)) << name;
      }
    }
  }
}

}  // namespace
}  // namespace phalanx
