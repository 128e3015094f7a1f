// GET /metrics.
#include "serve/api/api_context.h"
#include "serve/api/api_metrics.h"
#include "serve/api/endpoint_table.h"

namespace phalanx {

void ServeMetrics(ApiContext& context, HttpRequest, std::shared_ptr<EventWriter> writer) {
  const EngineStats stats = context.engine != nullptr ? context.engine->Stats() : EngineStats();
  HttpResponse response;
  response.content_type = "text/plain; charset=utf-8";
  response.body =
      context.metrics->Page(stats, std::chrono::duration<double>(Now(context).time_since_epoch()).count());
  writer->Respond(std::move(response));
}

}  // namespace phalanx
