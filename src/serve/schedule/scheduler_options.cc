#include "serve/schedule/scheduler_options.h"

#include <algorithm>
#include <string>

namespace phalanx {

int64_t MaxNewTokens(const Request& request, const SchedulerOptions& options) {
  const int64_t room = options.max_seq_len - static_cast<int64_t>(request.prompt_token_ids.size());
  return std::max<int64_t>(0, std::min({static_cast<int64_t>(request.max_tokens),
                                        static_cast<int64_t>(options.max_output_tokens), room}));
}

Status ValidateRequest(const Request& request, const SchedulerOptions& options) {
  const int64_t num_prompt = static_cast<int64_t>(request.prompt_token_ids.size());
  if (num_prompt == 0)
    return InvalidArgument("the prompt is empty: at least one token is needed").WithParam("prompt");
  if (request.n < 1) {
    return InvalidArgument("n is " + std::to_string(request.n) + ": at least 1 is needed").WithParam("n");
  }
  if (request.max_tokens < (request.sampling.num_prompt_logprobs >= 0 ? 0 : 1)) {
    return InvalidArgument("max_tokens is " + std::to_string(request.max_tokens) +
                           ": at least 1 is needed (0 only together with prompt log-probabilities)")
        .WithParam("max_tokens");
  }
  const int64_t longest_prompt = options.max_seq_len - (request.max_tokens > 0 ? 1 : 0);
  if (num_prompt > longest_prompt) {
    return InvalidArgument("the prompt has " + std::to_string(num_prompt) + " tokens, at most " +
                           std::to_string(longest_prompt) + " fit a sequence of " +
                           std::to_string(options.max_seq_len))
        .WithParam("prompt");
  }
  if (request.data_parallel_rank &&
      (*request.data_parallel_rank < 0 || *request.data_parallel_rank >= options.num_groups)) {
    return InvalidArgument("data parallel rank " + std::to_string(*request.data_parallel_rank) +
                           " does not exist: there are ranks 0 to " + std::to_string(options.num_groups - 1))
        .WithParam("data_parallel_rank");
  }
  const int64_t max_new = MaxNewTokens(request, options);
  const int64_t num_tokens = num_prompt + std::max<int64_t>(0, max_new - 1);
  const int64_t capacity = options.blocks_per_group * options.block_size;
  if (num_tokens > capacity) {
    return InvalidArgument("a prompt of " + std::to_string(num_prompt) + " tokens with up to " +
                           std::to_string(max_new) +
                           " new tokens can never fit the key/value cache of one group, " + "which holds " +
                           std::to_string(capacity) + " tokens")
        .WithParam(num_prompt > capacity ? "prompt" : "max_tokens");
  }
  return Status::Ok();
}

}  // namespace phalanx
