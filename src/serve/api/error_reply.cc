#include "serve/api/error_reply.h"

#include "serve/api/json_writer.h"

namespace phalanx {
namespace {

std::string_view TypeOf(int http_status) {
  if (http_status == 503) return "service_unavailable_error";
  return http_status >= 500 ? "server_error" : "invalid_request_error";
}

std::string_view CodeOf(StatusCode code) {
  switch (code) {
    case StatusCode::kResourceExhausted:
      return "queue_full";
    case StatusCode::kCancelled:
      return "stopping";
    case StatusCode::kUnavailable:
      return "unavailable";
    case StatusCode::kDeadlineExceeded:
      return "timeout";
    case StatusCode::kUnimplemented:
      return "unsupported";
    default:
      return {};
  }
}

constexpr size_t kMaxMessageBytes = 1000;

// Messages repeat what a client sent, which may be long and not even text.
std::string Shown(std::string_view message) {
  if (message.size() <= kMaxMessageBytes) return ToUtf8(message);
  return ToUtf8(std::string(message.substr(0, kMaxMessageBytes)) + "...");
}

std::string Body(std::string_view message, std::string_view type, std::string_view param,
                 std::string_view code) {
  std::string out = "{\"error\":{\"message\":";
  AppendJsonString(Shown(message), &out);
  out += ",\"type\":";
  AppendJsonString(type, &out);
  out += ",\"param\":";
  AppendJsonStringOrNull(Shown(param), &out);
  out += ",\"code\":";
  AppendJsonStringOrNull(code, &out);
  out += "}}";
  return out;
}

}  // namespace

int HttpStatusOf(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return 200;
    case StatusCode::kInvalidArgument:
      return 400;
    case StatusCode::kUnimplemented:
      return 400;  // known, but not offered: the client has to ask differently
    case StatusCode::kNotFound:
      return 404;
    case StatusCode::kResourceExhausted:
      return 503;
    case StatusCode::kCancelled:
      return 503;
    case StatusCode::kUnavailable:
      return 503;
    case StatusCode::kDeadlineExceeded:
      return 504;
    case StatusCode::kInternal:
      return 500;
  }
  return 500;
}

std::string ErrorBody(const Status& status, std::string_view code) {
  return Body(status.message(), TypeOf(HttpStatusOf(status)), status.param(),
              code.empty() ? CodeOf(status.code()) : code);
}

HttpResponse ErrorReply(const Status& status, std::string_view code) {
  HttpResponse response;
  response.status = HttpStatusOf(status);
  response.body = ErrorBody(status, code);
  if (response.status == 503) response.headers.emplace_back("Retry-After", "1");
  return response;
}

HttpResponse HttpErrorReply(int http_status, const std::string& message) {
  HttpResponse response;
  response.status = http_status;
  response.body = Body(message, TypeOf(http_status), {}, {});
  if (http_status == 503) response.headers.emplace_back("Retry-After", "1");
  return response;
}

}  // namespace phalanx
