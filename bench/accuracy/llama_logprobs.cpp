// Log-probabilities of the tokens of fixed texts by llama.cpp, for comparison.
//
// usage: llama_logprobs MODEL.gguf THREADS < tokens.txt      one text per line: token ids separated by spaces
// prints one line per text: the natural log-probability of each token after the first
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "llama.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_model* model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (model == nullptr) return 1;
  llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = params.n_ubatch = 2048;
  params.n_threads = params.n_threads_batch = std::atoi(argv[2]);
  const int vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  std::string line;
  while (std::getline(std::cin, line)) {
    llama_context* context = llama_init_from_model(model, params);
    std::istringstream words(line);
    std::vector<llama_token> tokens;
    for (int id; words >> id;) tokens.push_back(id);
    llama_batch batch = llama_batch_init(static_cast<int>(tokens.size()), 0, 1);
    for (size_t i = 0; i < tokens.size(); ++i) {
      batch.token[i] = tokens[i];
      batch.pos[i] = static_cast<llama_pos>(i);
      batch.n_seq_id[i] = 1;
      batch.seq_id[i][0] = 0;
      batch.logits[i] = 1;
    }
    batch.n_tokens = static_cast<int>(tokens.size());
    if (llama_decode(context, batch) != 0) return 1;
    for (size_t i = 0; i + 1 < tokens.size(); ++i) {
      const float* logits = llama_get_logits_ith(context, static_cast<int>(i));
      double max = logits[0], sum = 0;
      for (int v = 1; v < vocab; ++v) max = std::max<double>(max, logits[v]);
      for (int v = 0; v < vocab; ++v) sum += std::exp(logits[v] - max);
      std::printf("%.7g ", logits[tokens[i + 1]] - max - std::log(sum));
    }
    std::printf("\n");
    llama_batch_free(batch);
    llama_free(context);
  }
  llama_model_free(model);
}
