#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/request.h"
#include "serve/api/api_context.h"
#include "serve/api/body_fields.h"

namespace phalanx {

// What chat and completions have in common in a request, with its effective values.
struct GenerationParams {
  SamplingParams sampling;  // with seed and the model's end tokens
  int32_t n = 1;
  int32_t max_tokens = 1;
  std::vector<std::string> stop;
  std::vector<int32_t> client_stop_token_ids;  // those that the client named; ascending
  bool include_stop_str_in_output = false;
  bool skip_special_tokens = true;
  bool stream = false;
  bool include_usage = false;  // of a stream; else usage always comes
  bool return_token_ids = false;
};

// Reads and checks them all. min_max_tokens: 0 if the endpoint allows a request for no new token.
Result<GenerationParams> ReadGenerationParams(const BodyFields& body, const ApiContext& context,
                                              int64_t min_max_tokens);

// "model" must be there and be the served one: NotFound otherwise.
Status CheckModel(const BodyFields& body, const ApiContext& context);

}  // namespace phalanx
