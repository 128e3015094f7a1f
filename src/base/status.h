#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace phalanx {

// What kind of thing went wrong; one function in serve/api maps it to an HTTP status.
enum class StatusCode {
  kOk,
  kInvalidArgument,    // the caller's input is wrong: config, checkpoint, request
  kNotFound,           // a named thing does not exist: model, file, tensor
  kResourceExhausted,  // a limit is reached: queue, blocks, memory
  kDeadlineExceeded,   // a wait took longer than its bound
  kCancelled,          // the client went away, or the server is stopping
  kUnavailable,        // a peer (rank, worker) is dead or silent
  kUnimplemented,      // known and named, but not built yet
  kInternal,           // an error of the system below us: errno, a library
};

// "invalid argument", "not found", ...
std::string_view StatusCodeName(StatusCode code);

// Success, or a code and a message that says what was expected, what was found and where. Cheap to move.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status Ok() { return Status(); }

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // The field, parameter or tensor the error is about; empty if none. Becomes `param` of an OpenAI error.
  const std::string& param() const { return param_; }
  Status&& WithParam(std::string param) && {
    param_ = std::move(param);
    return std::move(*this);
  }

  // "invalid argument: worldSize 8 ..." for logs.
  std::string ToString() const;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
  std::string param_;
};

Status InvalidArgument(std::string message);
Status NotFound(std::string message);
Status ResourceExhausted(std::string message);
Status DeadlineExceeded(std::string message);
Status Cancelled(std::string message);
Status Unavailable(std::string message);
Status Unimplemented(std::string message);
Status Internal(std::string message);
// Internal error "<what>: <strerror(errno)>", with errno as it is on entry.
Status ErrnoStatus(std::string_view what);

// A value or the Status that says why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT: implicit so that `return value;` works
  Result(Status status) : status_(std::move(status)) { CHECK(!status_.ok()); }  // NOLINT

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }

  // Requires: ok().
  T& value() & {
    CHECK(ok());
    return *value_;
  }
  const T& value() const& {
    CHECK(ok());
    return *value_;
  }
  T&& value() && {
    CHECK(ok());
    return std::move(*value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::optional<T> value_;
  Status status_;
};

#define PHX_CONCAT_(a, b) a##b
#define PHX_CONCAT(a, b) PHX_CONCAT_(a, b)

// Returns the Status of `expr` from the enclosing function if it is an error.
#define RETURN_IF_ERROR(expr)                  \
  do {                                         \
    ::phalanx::Status phx_status_ = (expr);    \
    if (!phx_status_.ok()) return phx_status_; \
  } while (false)

// ASSIGN_OR_RETURN(auto x, F()): x = value of F(), or return its Status.
#define ASSIGN_OR_RETURN(lhs, expr) PHX_ASSIGN_OR_RETURN_(PHX_CONCAT(phx_result_, __LINE__), lhs, expr)
#define PHX_ASSIGN_OR_RETURN_(result, lhs, expr) \
  auto result = (expr);                          \
  if (!result.ok()) return result.status();      \
  lhs = std::move(result).value()

}  // namespace phalanx
