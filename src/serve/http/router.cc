#include "serve/http/router.h"

#include "base/check.h"

namespace phalanx {

void Router::Add(std::string method, std::string_view pattern, HttpHandler handler) {
  Route route{.method = std::move(method),
              .prefix = std::string(pattern),
              .suffix = {},
              .has_param = false,
              .handler = std::move(handler)};
  const size_t open = pattern.find('{');
  if (open != std::string_view::npos) {
    const size_t close = pattern.find('}', open);
    CHECK(close != std::string_view::npos);
    route.prefix = std::string(pattern.substr(0, open));
    route.suffix = std::string(pattern.substr(close + 1));
    route.has_param = true;
  }
  routes_.push_back(std::move(route));
}

Router::Match Router::Find(std::string_view method, std::string_view path) const {
  if (method == "HEAD") method = "GET";
  Match match;
  bool matched_exactly = false;
  for (const Route& route : routes_) {
    std::string_view param;
    if (!route.has_param) {
      if (path != route.prefix) continue;
    } else {
      const size_t fixed = route.prefix.size() + route.suffix.size();
      if (path.size() <= fixed || !path.starts_with(route.prefix) || !path.ends_with(route.suffix)) continue;
      param = path.substr(route.prefix.size(), path.size() - fixed);
      if (param.find('/') != std::string_view::npos) continue;
    }
    if (route.method != method) {
      if (!match.allow.empty()) match.allow += ", ";
      match.allow += route.method;
    } else if (match.handler == nullptr || (!matched_exactly && !route.has_param)) {
      match.handler = &route.handler;
      match.param = PercentDecode(param);
      matched_exactly = !route.has_param;
    }
  }
  return match;
}

}  // namespace phalanx
