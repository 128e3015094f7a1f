#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "serve/api/api_context.h"
#include "serve/api/generation.h"
#include "serve/http/event_writer.h"
#include "serve/http/http_message.h"

namespace phalanx {

// What inference endpoints share.

// Counts the request, refuses it if the server cannot answer, and runs `prepare` (parse, check, encode) where it holds
// nobody up; then starts the generation, or answers with the error. Throws nothing.
using PrepareFunction = Result<GenerationSpec> (*)(const HttpRequest& request, const ApiContext& context);
void ServeGeneration(PrepareFunction prepare, ApiContext& context, HttpRequest request,
                     std::shared_ptr<EventWriter> writer);

// X-Data-Parallel-Rank. InvalidArgument if it is no group's number.
Result<std::optional<int32_t>> ReadDataParallelRank(const HttpRequest& request, const ApiContext& context);
// X-Request-Id if it is short and harmless, else `otherwise`.
std::string ReadRequestId(const HttpRequest& request, const std::string& otherwise);
// "chatcmpl-" and 24 random hex digits.
std::string MakeReplyId(std::string_view prefix);
// Seconds since 1970.
int64_t UnixTime();
// Cuts a prompt that is too long, if the configuration says so; the engine refuses it otherwise.
void Truncate(const ApiContext& context, std::vector<int32_t>* token_ids);

}  // namespace phalanx
