#pragma once

#include <functional>
#include <string_view>

#include "serve/http/http_message.h"

namespace phalanx {

// Where the answer to one request is written: whole (Respond), or piece by piece (Begin, Write ..., End). Any
// thread; calls never block and never fail: what is written to a client that is gone vanishes, and OnCancel
// has told so. The owner of a writer answers exactly once; a writer that is destroyed without an answer
// answers 500, or breaks the stream off, so that no client waits for ever.
class EventWriter {
 public:
  virtual ~EventWriter() = default;

  // The whole answer.
  virtual void Respond(HttpResponse response) = 0;

  // The head of an answer of unknown length; its body, if any, is the first piece.
  virtual void Begin(HttpResponse head) = 0;
  // The next bytes, as they are (for server-sent events: whole "data: ...\n\n" blocks). What is written
  // between two visits of the server's thread goes out together. A client that leaves more than the server's
  // bound unread is dropped.
  virtual void Write(std::string_view bytes) = 0;
  virtual void End() = 0;

  // `callback` is called at most once, from any thread, if the client goes away before the answer is
  // complete; at once if it has gone already. It must not block. It is forgotten, uncalled, when the answer
  // is complete.
  virtual void OnCancel(std::function<void()> callback) = 0;
};

}  // namespace phalanx
