#pragma once

#include <memory>
#include <span>

#include "serve/http/event_writer.h"
#include "serve/http/http_message.h"
#include "serve/http/router.h"

namespace phalanx {

struct ApiContext;

// Which listener has a route; a set.
enum ApiPlane : unsigned {
  kBusinessPlane = 1,
  kManagementPlane = 2,
  kMetricsPlane = 4,
};

// One route. `serve` must not block and throws nothing; it answers on the writer, now or later.
struct Endpoint {
  const char* method;
  const char* path;
  unsigned planes;
  void (*serve)(ApiContext& context, HttpRequest request, std::shared_ptr<EventWriter> writer);
};

// All routes.
std::span<const Endpoint> EndpointTable();

// The routes of a plane. `context` outlives the router.
std::shared_ptr<const Router> MakeRouter(ApiPlane plane, ApiContext& context);

// One function per route, each in the file of its name.
void ServeChatCompletions(ApiContext& context, HttpRequest request, std::shared_ptr<EventWriter> writer);
void ServeCompletions(ApiContext& context, HttpRequest request, std::shared_ptr<EventWriter> writer);
void ServeModels(ApiContext& context, HttpRequest request, std::shared_ptr<EventWriter> writer);
void ServeModel(ApiContext& context, HttpRequest request, std::shared_ptr<EventWriter> writer);
void ServeLive(ApiContext& context, HttpRequest request, std::shared_ptr<EventWriter> writer);
void ServeReady(ApiContext& context, HttpRequest request, std::shared_ptr<EventWriter> writer);
void ServeMetrics(ApiContext& context, HttpRequest request, std::shared_ptr<EventWriter> writer);

}  // namespace phalanx
