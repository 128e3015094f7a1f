#pragma once

#include <optional>
#include <string>

namespace phalanx {

struct ChatOptions {
  std::string url = "http://127.0.0.1:1025";
  std::string model;                  // empty: the first of the server's /v1/models
  std::string system;                 // empty: the template's own
  std::optional<int> max_tokens;      // absent: the server's limit
  std::optional<double> temperature;  // absent: the model's
  std::string prompt;                 // not empty: ask this once
};

// A chat in the terminal against a running server; answers appear as they come. With a prompt, or with standard input
// from a pipe: one question, one answer. Otherwise a conversation: /reset forgets it, /system TEXT sets the system
// message, /exit or Ctrl-D ends, Ctrl-C stops an answer. Errors go to stderr. Returns the exit code: 0, or 2 if the
// server could not be reached or did not answer, 130 if Ctrl-C stopped the only answer.
int RunChat(const ChatOptions& options);

}  // namespace phalanx
