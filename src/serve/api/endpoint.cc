#include "serve/api/endpoint.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <random>

#include "serve/api/api_metrics.h"
#include "serve/api/error_reply.h"
#include "serve/api/work_pool.h"

namespace phalanx {
namespace {

constexpr size_t kMaxRequestIdLength = 128;

void PrepareAndStart(PrepareFunction prepare, ApiContext& context, const HttpRequest& request,
                     const std::shared_ptr<EventWriter>& writer) {
  Status status;
  try {
    Result<GenerationSpec> spec = prepare(request, context);
    if (spec.ok()) {
      Generation::Start(std::move(spec).value(), context, writer);
      return;
    }
    status = spec.status();
  } catch (const std::exception& error) {
    status = Internal(std::string("the request could not be prepared: ") + error.what());
  }
  context.metrics->RequestEnded(false);
  writer->Respond(ErrorReply(status, status.code() == StatusCode::kNotFound ? "model_not_found" : ""));
}

}  // namespace

SteadyTime Now(const ApiContext& context) {
  return context.clock != nullptr ? context.clock->Now() : std::chrono::steady_clock::now();
}

void ServeGeneration(PrepareFunction prepare, ApiContext& context, HttpRequest request,
                     std::shared_ptr<EventWriter> writer) {
  context.metrics->RequestReceived();
  if (context.engine == nullptr || !context.started) {
    context.metrics->RequestEnded(false);
    writer->Respond(ErrorReply(Unavailable("the server has not started yet")));
    return;
  }
  if (context.pool == nullptr || request.body.size() <= context.limits.max_inline_body_bytes) {
    PrepareAndStart(prepare, context, request, writer);
    return;
  }
  auto shared = std::make_shared<HttpRequest>(std::move(request));
  context.pool->Run([prepare, &context, shared, writer = std::move(writer)] {
    PrepareAndStart(prepare, context, *shared, writer);
  });
}

Result<std::optional<int32_t>> ReadDataParallelRank(const HttpRequest& request, const ApiContext& context) {
  const std::string_view text = request.Header("x-data-parallel-rank");
  if (text.empty()) return std::optional<int32_t>();
  int32_t rank = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), rank);
  const size_t num_groups = context.engine->Stats().groups.size();
  if (error != std::errc() || end != text.data() + text.size() || rank < 0 ||
      static_cast<size_t>(rank) >= num_groups) {
    return InvalidArgument("X-Data-Parallel-Rank must be in [0, " + std::to_string(num_groups - 1) +
                           "], got " + std::string(text.substr(0, 32)))
        .WithParam("X-Data-Parallel-Rank");
  }
  return std::optional<int32_t>(rank);
}

std::string ReadRequestId(const HttpRequest& request, const std::string& otherwise) {
  const std::string_view id = request.Header("x-request-id");
  const bool harmless = std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '.' || c == ':';
  });
  return id.empty() || id.size() > kMaxRequestIdLength || !harmless ? otherwise : std::string(id);
}

std::string MakeReplyId(std::string_view prefix) {
  static constexpr char kHex[] = "0123456789abcdef";
  thread_local std::mt19937_64 generator{(uint64_t{std::random_device()()} << 32) ^ std::random_device()()};
  std::string id(prefix);
  uint64_t bits = 0;
  for (int i = 0; i < 24; ++i) {
    if (i % 16 == 0) bits = generator();
    id.push_back(kHex[bits & 15]);
    bits >>= 4;
  }
  return id;
}

int64_t UnixTime() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

void Truncate(const ApiContext& context, std::vector<int32_t>* token_ids) {
  const EngineOptions& options = context.engine->options();
  const size_t most =
      static_cast<size_t>(std::max<int64_t>(1, std::min(options.max_input_tokens, options.max_seq_len - 1)));
  if (context.limits.truncation == 0 || token_ids->size() <= most) return;
  if (context.limits.truncation == 1) {
    token_ids->erase(token_ids->begin(), token_ids->end() - static_cast<std::ptrdiff_t>(most));
  } else {
    token_ids->resize(most);
  }
}

}  // namespace phalanx
