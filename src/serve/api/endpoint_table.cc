#include "serve/api/endpoint_table.h"

namespace phalanx {
namespace {

// /health is on the business plane too: clients of other servers look for it beside the API.
constexpr Endpoint kEndpoints[] = {
    {"POST", "/v1/chat/completions", kBusinessPlane, ServeChatCompletions},
    {"POST", "/v1/completions", kBusinessPlane, ServeCompletions},
    {"GET", "/v1/models", kBusinessPlane, ServeModels},
    {"GET", "/v1/models/{model}", kBusinessPlane, ServeModel},
    {"GET", "/health", kBusinessPlane | kManagementPlane, ServeReady},
    {"GET", "/v2/health/live", kManagementPlane, ServeLive},
    {"GET", "/v2/health/ready", kManagementPlane, ServeReady},
    {"GET", "/metrics", kMetricsPlane, ServeMetrics},
};

}  // namespace

std::span<const Endpoint> EndpointTable() {
  return kEndpoints;
}

std::shared_ptr<const Router> MakeRouter(ApiPlane plane, ApiContext& context) {
  auto router = std::make_shared<Router>();
  for (const Endpoint& endpoint : kEndpoints) {
    if ((endpoint.planes & plane) == 0) continue;
    router->Add(endpoint.method, endpoint.path,
                [serve = endpoint.serve, &context](HttpRequest request, std::shared_ptr<EventWriter> writer) {
                  serve(context, std::move(request), std::move(writer));
                });
  }
  return router;
}

}  // namespace phalanx
