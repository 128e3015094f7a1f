#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace phalanx {

struct HttpUrl {
  std::string host;
  std::string port;
  std::string prefix;  // path that comes before every request's path; without a '/' at its end
};

// "http://host[:port][/prefix]", also "[::1]" as the host. InvalidArgument otherwise.
Result<HttpUrl> ParseHttpUrl(const std::string& text);

// One request on a connection of its own. `on_body` gets the status and the body piece by piece, as it comes. `stop` is
// asked whenever the wait is interrupted, and every 200 ms. Returns the HTTP status. Errors: Unavailable (no connection,
// or broken off), Cancelled (`stop` said so).
Result<int> Fetch(const HttpUrl& url, std::string_view method, std::string_view path, std::string_view body,
                  const std::function<bool()>& stop,
                  const std::function<void(int, std::string_view)>& on_body);

}  // namespace phalanx
