#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace phalanx {

// An array of floats of a reference.
struct GoldenArray {
  std::vector<int64_t> shape;
  std::vector<float> values;
  int64_t rows() const { return shape.at(0); }
  int64_t cols() const { return shape.at(1); }
};

struct GoldenPrompt {
  std::vector<int32_t> ids;
  std::vector<int32_t> greedy;  // the reference's tokens after the prompt
  std::vector<double> lead;     // of each over the second best, in log-probability
};

// One reference model of data/: see README.md. A damaged case ends the test program: it is part of the repository.
struct GoldenCase {
  std::string name;
  std::string model_path;  // what WeightStore::Open takes
  std::vector<GoldenPrompt> prompts;
  std::map<std::string, GoldenArray, std::less<>> arrays;
  // Whether the weights' format quantises activations to 8 bits.
  bool quantizes = false;
  // Whether a sequence's rope depends on the length that it reserves; the reference then is of that length.
  bool by_length = false;

  // The array, or null if the reference has none of that name.
  const GoldenArray* Find(std::string_view array) const;
  // Reserved length for a sequence of `length` tokens in all.
  int64_t ReservedLength(int64_t length) const { return by_length ? length : 0; }
};

// Names of all cases, in order.
std::vector<std::string> GoldenCaseNames();
GoldenCase LoadGoldenCase(const std::string& name);

// How far float arithmetic in another order may be from the reference, as a share of the largest value of the tensor:
// a sum of n products of order one is off by about sqrt(n) * 2^-24 of its size, and what `depth` parts add to the residual
// stream adds up; kMargin covers the growth through norms, softmax and rotary angles of the reference in fp32. With activations
// quantised to 8 bits each product is off by up to 2^-8 of its row's largest value instead.
double GoldenTolerance(const GoldenCase& golden, int64_t n, int depth);

// Where |a - b| is largest.
struct Difference {
  double difference = 0;
  double scale = 0;  // largest |b|
  int64_t row = 0, col = 0;
};
Difference LargestDifference(const float* a, const GoldenArray& b);

}  // namespace phalanx
