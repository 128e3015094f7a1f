#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "serve/http/event_writer.h"
#include "serve/http/http_message.h"

namespace phalanx {

// Called on a thread of the server for each request of the route; must not block. May keep the writer and
// answer later from another thread.
using HttpHandler = std::function<void(HttpRequest request, std::shared_ptr<EventWriter> writer)>;

// Routes: (method, path pattern) -> handler. A pattern is a path with at most one {param}, which stands for
// one or more characters without '/': "/v1/models/{model}". Built before the server starts, read-only
// afterwards.
class Router {
 public:
  struct Match {
    const HttpHandler* handler = nullptr;  // null: no such route
    std::string param;                     // percent-decoded
    std::string allow;                     // if the path exists with other methods: "GET, POST"
  };

  void Add(std::string method, std::string_view pattern, HttpHandler handler);

  // HEAD finds the route of GET. A path without {param} wins over one with it.
  Match Find(std::string_view method, std::string_view path) const;

 private:
  struct Route {
    std::string method;
    std::string prefix;
    std::string suffix;  // after the {param}
    bool has_param = false;
    HttpHandler handler;
  };

  std::vector<Route> routes_;
};

}  // namespace phalanx
