// GET /health, /v2/health/live and /v2/health/ready: what the engine says of itself, never more.
#include "serve/api/api_context.h"
#include "serve/api/endpoint_table.h"
#include "serve/api/json_writer.h"

namespace phalanx {
namespace {

HttpResponse Answer(int http_status, std::string_view message = {}) {
  HttpResponse response;
  response.status = http_status;
  if (message.empty()) {
    response.content_type.clear();
  } else {
    response.body = "{\"message\":";
    AppendJsonString(message, &response.body);
    response.body += '}';
  }
  return response;
}

HttpResponse Unhealthy(const Status& health) {
  if (health.code() == StatusCode::kCancelled) return Answer(503, "The service has been stopped.");
  return Answer(500, health.message());
}

}  // namespace

void ServeLive(ApiContext& context, HttpRequest, std::shared_ptr<EventWriter> writer) {
  const bool started = context.engine != nullptr && context.started;
  const Status health = started ? context.engine->Health() : Status::Ok();
  writer->Respond(health.ok() ? Answer(200) : Unhealthy(health));
}

void ServeReady(ApiContext& context, HttpRequest, std::shared_ptr<EventWriter> writer) {
  if (context.engine == nullptr || !context.started) {
    writer->Respond(Answer(503, "the server has not started yet"));
    return;
  }
  const Status health = context.engine->Health();
  writer->Respond(health.ok() ? Answer(200) : Unhealthy(health));
}

}  // namespace phalanx
