// phx_generate: greedy tokens of a model in one process, and the time of its steps. No tokenizer, no server.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <numeric>
#include <sstream>

#include <CLI/CLI.hpp>

#include "parallel/comm/single/single_communicator.h"
#include "tests/golden/model_harness.h"

namespace phalanx {
namespace {

struct Options {
  std::string model, prompt_ids = "1";
  int steps = 32, rows = 1, prompt_length = 0, chunk = 1024;
  HarnessOptions harness;
};

using Clock = std::chrono::steady_clock;
double Milliseconds(Clock::time_point since) {
  return std::chrono::duration<double, std::milli>(Clock::now() - since).count();
}

std::vector<int32_t> PromptOf(const Options& options, int64_t vocab_size) {
  std::vector<int32_t> ids;
  std::stringstream text(options.prompt_ids);
  for (std::string id; std::getline(text, id, ',');) ids.push_back(std::stoi(id));
  while (static_cast<int>(ids.size()) < options.prompt_length) {
    ids.push_back(static_cast<int32_t>((ids.size() * 7919 + 13) % static_cast<size_t>(vocab_size)));
  }
  return ids;
}

Status Generate(const Options& options) {
  Clock::time_point start = Clock::now();
  ASSIGN_OR_RETURN(const std::unique_ptr<PackedModel> packed, PackedModel::Load(options.model));
  std::printf("packed %.1f MB in %.0f ms\n", static_cast<double>(packed->store().packed_bytes()) / 1e6,
              Milliseconds(start));
  const KernelTable* kernels = nullptr;
  ASSIGN_OR_RETURN(kernels, SelectKernels(options.harness.kernels));
  SingleCommunicator alone;
  HarnessOptions harness_options = options.harness;
  const int64_t vocab = packed->store().config().vocab_size;
  const std::vector<int32_t> prompt = PromptOf(options, vocab);
  const int64_t longest = static_cast<int64_t>(prompt.size()) + options.steps;
  harness_options.num_blocks = (longest / harness_options.block_size + 1) * options.rows + 1;
  ASSIGN_OR_RETURN(const std::unique_ptr<ModelHarness> harness,
                   ModelHarness::Create(*packed, &alone, harness_options));

  std::vector<HarnessStep> next;
  double prefill = 0;
  for (int i = 0; i < options.rows; ++i) {
    const int sequence = harness->AddSequence(longest);
    std::vector<float> logits;
    start = Clock::now();
    for (size_t at = 0; at < prompt.size(); at += static_cast<size_t>(options.chunk)) {
      const size_t end = std::min(at + static_cast<size_t>(options.chunk), prompt.size());
      ASSIGN_OR_RETURN(
          logits,
          harness->Run(
              {{sequence, {prompt.begin() + static_cast<long>(at), prompt.begin() + static_cast<long>(end)}}},
              false));
    }
    prefill = Milliseconds(start);
    next.push_back({sequence, {kernels->row_max(logits.data(), vocab).index}});
  }
  std::printf("kernels %s, prompt of %zu: %.2f ms (%.0f tokens/s)\n", std::string(kernels->name).c_str(),
              prompt.size(), prefill, 1000.0 * static_cast<double>(prompt.size()) / prefill);
  std::vector<int32_t> tokens{next[0].tokens[0]};
  start = Clock::now();
  for (int i = 1; i < options.steps; ++i) {
    ASSIGN_OR_RETURN(const std::vector<float> logits, harness->Run(next, false));
    for (size_t s = 0; s < next.size(); ++s) {
      next[s].tokens[0] = kernels->row_max(logits.data() + static_cast<int64_t>(s) * vocab, vocab).index;
    }
    tokens.push_back(next[0].tokens[0]);
  }
  if (options.steps > 1) {
    const double step = Milliseconds(start) / (options.steps - 1);
    std::printf("%d rows: %.3f ms per step, %.1f tokens/s\n", options.rows, step,
                1000.0 * options.rows / step);
  }
  for (int32_t token : tokens) std::printf("%d ", token);
  std::printf("\n");
  return Status::Ok();
}

}  // namespace
}  // namespace phalanx

int main(int argc, char** argv) {
  phalanx::Options options;
  CLI::App app("Greedy tokens of a model, and the time of its steps.");
  app.add_option("model", options.model, "Hugging Face folder or .gguf file")->required();
  app.add_option("--ids", options.prompt_ids, "prompt as token ids, separated by commas");
  app.add_option("--prompt-length", options.prompt_length, "fill the prompt up to this length");
  app.add_option("--steps", options.steps, "tokens to generate");
  app.add_option("--rows", options.rows, "sequences that run side by side");
  app.add_option("--chunk", options.chunk, "prompt tokens per step");
  app.add_option("--threads", options.harness.threads, "threads");
  app.add_option("--kernels", options.harness.kernels, "kernel table");
  app.add_option("--block-size", options.harness.block_size, "tokens per cache block");
  bool f16 = false;
  app.add_flag("--kv-f16", f16, "16-bit keys and values");
  CLI11_PARSE(app, argc, argv);
  if (f16) options.harness.format = phalanx::KvFormat::kF16;
  const phalanx::Status status = phalanx::Generate(options);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
