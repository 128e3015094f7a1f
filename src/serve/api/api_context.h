#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "serve/api/generation_defaults.h"
#include "serve/engine/engine.h"
#include "serve/text/chat_template.h"
#include "serve/text/tokenizer.h"

namespace phalanx {

class ApiMetrics;
class WorkPool;

// Limits of ServerConfig and ModelDeployConfig that the endpoints keep themselves; the Engine keeps the others.
struct ApiLimits {
  int max_json_depth = 10;
  int32_t max_n = 8192;  // choices of one request
  // Of a prompt longer than allowed: 0 refuse it, 1 keep its last tokens, anything else keep its first tokens.
  int truncation = 0;
  // Requests with longer bodies are parsed and encoded on the pool, not on the connections' thread.
  size_t max_inline_body_bytes = 2048;
};

// What all endpoints share. Filled by the program before the server starts; everything it points to outlives the server.
// Endpoints run on several threads at once and only read it.
struct ApiContext {
  Engine* engine = nullptr;  // null: not there yet, requests are answered 503
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat_template;  // null: the model has none, chat is answered 400
  std::string model_name;                             // the only one that requests may name
  int64_t created = 0;                                // start of the server, seconds since 1970
  GenerationDefaults defaults;
  ApiLimits limits;
  ApiMetrics* metrics = nullptr;  // never null when a request comes
  WorkPool* pool = nullptr;       // null: everything on the caller's thread
  const Clock* clock = nullptr;   // null: the real one
  // Set when requests will be answered: what readiness tells.
  std::atomic<bool> started{false};
};

// Now, of the context's clock.
SteadyTime Now(const ApiContext& context);

}  // namespace phalanx
