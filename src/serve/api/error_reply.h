#pragma once

#include <string>

#include "base/status.h"
#include "serve/http/http_message.h"

namespace phalanx {

// The one place where a Status becomes an HTTP status.
int HttpStatusOf(const Status& status);

// {"error":{"message","type","param","code"}}, OpenAI's form. `code` may be empty: a default by the kind of error.
std::string ErrorBody(const Status& status, std::string_view code = {});

// The whole answer; 503 carries Retry-After.
HttpResponse ErrorReply(const Status& status, std::string_view code = {});

// What the HTTP server itself refuses (404, 405, 413, ...), in the same form.
HttpResponse HttpErrorReply(int http_status, const std::string& message);

}  // namespace phalanx
