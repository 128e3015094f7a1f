#include "tests/golden/golden_case.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "base/check.h"
#include "base/file.h"

namespace phalanx {
namespace {

namespace fs = std::filesystem;

const fs::path kData = fs::path(PHX_SOURCE_DIR) / "tests/golden/data";

Json ReadJson(const fs::path& path) {
  Result<std::string> text = ReadFile(path.string());
  CHECK(text.ok());
  Result<Json> json = ParseJson(*text);
  CHECK(json.ok());
  return *json;
}

// A folder with the case's config.json and the weights of the case that it shares them with.
fs::path ComposeModel(const std::string& name, const std::string& weights_from) {
  const fs::path folder = fs::path(PHX_BINARY_DIR) / "golden" / name;
  fs::create_directories(folder);
  for (const fs::path& from : {kData / weights_from / "model", kData / name / "model"}) {
    for (const fs::directory_entry& file : fs::directory_iterator(from)) {
      if (from != kData / name / "model" && file.path().extension() != ".safetensors") continue;
      const fs::path link = folder / file.path().filename();
      std::error_code ignored;
      fs::remove(link, ignored);
      fs::create_symlink(file.path(), link);
    }
  }
  return folder;
}

}  // namespace

const GoldenArray* GoldenCase::Find(std::string_view array) const {
  auto it = arrays.find(array);
  return it == arrays.end() ? nullptr : &it->second;
}

std::vector<std::string> GoldenCaseNames() {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(kData)) {
    if (fs::exists(entry.path() / "reference.json")) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

GoldenCase LoadGoldenCase(const std::string& name) {
  GoldenCase golden;
  golden.name = name;
  const Json reference = ReadJson(kData / name / "reference.json");
  if (reference.contains("gguf")) {
    golden.model_path = (kData / name / reference["gguf"].get<std::string>()).string();
  } else if (reference.contains("weights_from")) {
    golden.model_path = ComposeModel(name, reference["weights_from"].get<std::string>()).string();
  } else {
    golden.model_path = (kData / name / "model").string();
  }
  golden.quantizes = reference.value("quantizes", false);
  golden.by_length = reference.value("by_length", false);
  for (const Json& entry : reference["prompts"]) {
    GoldenPrompt prompt;
    prompt.ids = entry["ids"].get<std::vector<int32_t>>();
    for (const Json& step : entry["greedy"]) {
      prompt.greedy.push_back(step["id"].get<int32_t>());
      prompt.lead.push_back(step["lead"].get<double>());
    }
    golden.prompts.push_back(std::move(prompt));
  }
  const std::string path = (kData / name / "arrays.f32").string();
  Result<std::string> bytes = ReadFile(path);
  CHECK(bytes.ok());
  const Json index = ReadJson(kData / name / "arrays.json");
  for (const auto& [key, entry] : index.items()) {
    GoldenArray array;
    array.shape = entry["shape"].get<std::vector<int64_t>>();
    array.values.resize(static_cast<size_t>(array.rows() * array.cols()));
    const size_t begin = entry["offset"].get<size_t>() * sizeof(float),
                 size = array.values.size() * sizeof(float);
    CHECK(begin + size <= bytes->size());
    std::memcpy(array.values.data(), bytes->data() + begin, size);
    golden.arrays.emplace(key, std::move(array));
  }
  return golden;
}

double GoldenTolerance(const GoldenCase& golden, int64_t n, int depth) {
  constexpr double kMargin = 2;
  const double rounding = golden.quantizes ? 1.0 / 256 : 1.0 / (1 << 24);
  // Errors of 8 bits are independent between products: the sum's grows as its own size does.
  const double of_sum = golden.quantizes ? rounding : rounding * std::sqrt(static_cast<double>(n));
  return of_sum * (golden.quantizes ? std::sqrt(depth + 3.0) * 4 : kMargin * (depth + 1));
}

Difference LargestDifference(const float* a, const GoldenArray& b) {
  Difference worst;
  for (int64_t row = 0; row < b.rows(); ++row) {
    for (int64_t col = 0; col < b.cols(); ++col) {
      const double theirs = b.values[static_cast<size_t>(row * b.cols() + col)];
      const double difference = std::fabs(a[row * b.cols() + col] - theirs);
      worst.scale = std::max(worst.scale, std::fabs(theirs));
      // A NaN counts as the largest difference.
      if (!(difference <= worst.difference)) worst = {difference, worst.scale, row, col};
    }
  }
  return worst;
}

}  // namespace phalanx
