#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace phalanx {

// One request as it came, complete. Header names are in lower case.
struct HttpRequest {
  std::string method;  // "GET", "POST", ...
  std::string path;    // without the query, as sent (percent-encoded)
  std::string query;   // what follows '?', else empty
  std::string param;   // what the {param} of the route matched, percent-decoded
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;

  // The first header of that (lower-case) name; empty if there is none.
  std::string_view Header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
      if (key == name) return value;
    }
    return {};
  }
};

// An answer. Content-Length, Connection and Date are the server's.
struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";  // empty: no such header
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};

// "Not Found" for 404; "Unknown" for codes without a name here.
std::string_view HttpReason(int status);

// "a%20b" -> "a b"; a '%' without two hex digits stays as it is.
std::string PercentDecode(std::string_view text);

}  // namespace phalanx
