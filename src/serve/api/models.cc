// GET /v1/models and GET /v1/models/{model}.
#include "serve/api/api_context.h"
#include "serve/api/endpoint_table.h"
#include "serve/api/error_reply.h"
#include "serve/api/json_writer.h"

namespace phalanx {
namespace {

std::string ModelObject(const ApiContext& context) {
  std::string out = "{\"id\":";
  AppendJsonString(context.model_name, &out);
  out += ",\"object\":\"model\",\"created\":";
  AppendInt(context.created, &out);
  out += ",\"owned_by\":\"MindIE Server\",\"root\":";
  AppendJsonString(context.model_name, &out);
  out += ",\"parent\":null,\"max_model_len\":";
  if (context.engine != nullptr) {
    AppendInt(context.engine->options().max_seq_len, &out);
  } else {
    out += "null";
  }
  out += '}';
  return out;
}

}  // namespace

void ServeModels(ApiContext& context, HttpRequest, std::shared_ptr<EventWriter> writer) {
  HttpResponse response;
  response.body = "{\"object\":\"list\",\"data\":[" + ModelObject(context) + "]}";
  writer->Respond(std::move(response));
}

void ServeModel(ApiContext& context, HttpRequest request, std::shared_ptr<EventWriter> writer) {
  if (request.param != context.model_name) {
    writer->Respond(ErrorReply(NotFound("The model `" + request.param +
                                        "` does not exist; this server has `" + context.model_name + "`")
                                   .WithParam("model"),
                               "model_not_found"));
    return;
  }
  HttpResponse response;
  response.body = ModelObject(context);
  writer->Respond(std::move(response));
}

}  // namespace phalanx
