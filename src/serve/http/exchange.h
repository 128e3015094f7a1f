#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "serve/http/event_writer.h"

namespace phalanx {

// One request's answer on its way from whoever writes it (any thread) to the connection that sends it (its
// strand): the EventWriter of a socket. Its lock is held for a few appends at a time. The connection must
// call Detach before it goes; after that everything written vanishes.
class Exchange : public EventWriter {
 public:
  // `notify` is called, under the lock, when Take has something new; it must only post. `max_pending_bytes`
  // bounds what a stream may have waiting.
  Exchange(std::function<void()> notify, size_t max_pending_bytes);

  void Respond(HttpResponse response) override;
  void Begin(HttpResponse head) override;
  void Write(std::string_view bytes) override;
  void End() override;
  void OnCancel(std::function<void()> callback) override;

  // What the connection has to send now.
  struct Ready {
    bool responded = false;  // `head` is the whole answer
    bool begun = false;      // `head` is the head of a stream; true once
    bool ended = false;      // nothing follows `bytes`
    bool broken = false;     // the client did not read, or the stream was abandoned: close the connection
    HttpResponse head;
  };
  // Moves the waiting bytes of a stream into *bytes (its old content is dropped, its capacity reused).
  Ready Take(std::string* bytes);

  // As Ready::broken.
  bool broken();
  // The client is gone, or the connection has to end: calls the OnCancel callback unless the answer is
  // complete.
  void Cancel();
  // Nobody will write any more: answers 500 if there is no answer, breaks an unfinished stream off.
  void Abandon();
  // The answer is sent, or never will be: no notify from now on.
  void Detach();

 private:
  enum class State { kOpen, kResponded, kStreaming, kEnded };

  void NotifyLocked();

  const size_t max_pending_bytes_;
  std::mutex mutex_;
  std::function<void()> notify_;  // null when detached
  std::function<void()> on_cancel_;
  State state_ = State::kOpen;
  bool head_taken_ = false;
  bool notified_ = false;
  bool cancelled_ = false;
  bool broken_ = false;
  HttpResponse head_;
  std::string pending_;
};

}  // namespace phalanx
