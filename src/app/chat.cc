#include "app/chat.h"

#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <functional>

#include "app/http_client.h"
#include "base/json.h"

namespace phalanx {
namespace {

volatile sig_atomic_t interrupted = 0;

void OnInterrupt(int) {
  interrupted = 1;
}

// Without SA_RESTART: a blocking read or poll returns, and sees the flag.
void CatchInterrupts() {
  struct sigaction action {};
  action.sa_handler = OnInterrupt;
  ::sigaction(SIGINT, &action, nullptr);
}

bool StopRequested() {
  return interrupted != 0;
}

// Text of a model may hold anything: what would steer the terminal is left out.
void Print(std::string_view text, bool to_terminal) {
  std::string out;
  for (const char c : text) {
    const unsigned char byte = static_cast<unsigned char>(c);
    if (!to_terminal || (byte >= 0x20 && byte != 0x7f) || c == '\n' || c == '\t') out.push_back(c);
  }
  std::fwrite(out.data(), 1, out.size(), stdout);
  std::fflush(stdout);
}

// Lines of standard input.
class LineReader {
 public:
  enum class Outcome { kLine, kEnd, kInterrupted };

  Outcome Next(std::string* line) {
    for (;;) {
      const size_t end = buffer_.find('\n');
      if (end != std::string::npos) {
        *line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return Outcome::kLine;
      }
      char bytes[4096];
      const ssize_t n = ::read(STDIN_FILENO, bytes, sizeof(bytes));
      if (n < 0 && errno == EINTR) return Outcome::kInterrupted;
      if (n <= 0) return Outcome::kEnd;
      buffer_.append(bytes, static_cast<size_t>(n));
    }
  }

 private:
  std::string buffer_;
};

std::string ReadAllInput() {
  std::string text;
  char bytes[4096];
  for (;;) {
    const ssize_t n = ::read(STDIN_FILENO, bytes, sizeof(bytes));
    if (n <= 0) break;
    text.append(bytes, static_cast<size_t>(n));
  }
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

// The server's own words for an error, if it has some.
Status ServerError(int http_status, const std::string& body) {
  std::string message =
      http_status == 200 ? "the answer broke off" : "the server answered " + std::to_string(http_status);
  const Result<Json> json = ParseJson(body);
  if (json.ok() && json->is_object() && json->contains("error") && (*json)["error"].is_object()) {
    const Result<std::string> text = JsonString((*json)["error"], "message");
    if (text.ok()) message += ": " + *text;
  }
  return Internal(message);
}

struct Answer {
  std::string text;
  int64_t num_tokens = 0;
  double first_seconds = 0, seconds = 0;
  bool stopped = false;  // by Ctrl-C
};

// Takes the bytes of an event stream and gives each event's data.
class EventParser {
 public:
  explicit EventParser(std::function<void(std::string_view)> on_data) : on_data_(std::move(on_data)) {}

  void Push(std::string_view bytes) {
    buffer_.append(bytes);
    size_t end;
    while ((end = buffer_.find('\n')) != std::string::npos) {
      std::string_view line(buffer_.data(), end);
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (line.starts_with("data:")) {
        line.remove_prefix(5);
        if (line.starts_with(' ')) line.remove_prefix(1);
        on_data_(line);
      }
      buffer_.erase(0, end + 1);
    }
  }

 private:
  const std::function<void(std::string_view)> on_data_;
  std::string buffer_;
};

class Chat {
 public:
  Chat(HttpUrl url, const ChatOptions& options)
      : url_(std::move(url)),
        options_(options),
        model_(options.model),
        to_terminal_(::isatty(STDOUT_FILENO) == 1) {
    SetSystem(options.system);
  }

  // Finds the model's name if none was given.
  Status Connect() {
    if (!model_.empty()) return Status::Ok();
    std::string body;
    ASSIGN_OR_RETURN(const int status, Fetch(url_, "GET", "/v1/models", "", StopRequested,
                                             [&body](int, std::string_view bytes) { body.append(bytes); }));
    if (status != 200) return ServerError(status, body);
    const Result<Json> json = ParseJson(body);
    if (json.ok() && json->is_object() && json->contains("data") && (*json)["data"].is_array() &&
        !(*json)["data"].empty()) {
      ASSIGN_OR_RETURN(model_, JsonString((*json)["data"][0], "id"));
      return Status::Ok();
    }
    return Internal("the server's list of models is empty");
  }

  const std::string& model() const { return model_; }

  void SetSystem(const std::string& text) {
    system_ = text;
    Reset();
  }

  void Reset() {
    messages_ = OrderedJson::array();
    if (!system_.empty()) messages_.push_back({{"role", "system"}, {"content", system_}});
  }

  // Sends the conversation with `question` at its end, prints the answer as it comes and remembers it.
  Result<Answer> Ask(const std::string& question) {
    messages_.push_back({{"role", "user"}, {"content", question}});
    Result<Answer> answer = Stream();
    if (answer.ok()) {
      messages_.push_back({{"role", "assistant"}, {"content", answer->text}});
    } else {
      messages_.erase(messages_.size() - 1);
    }
    return answer;
  }

 private:
  Result<Answer> Stream() {
    OrderedJson body = {{"model", model_},
                        {"messages", messages_},
                        {"stream", true},
                        {"stream_options", {{"include_usage", true}}}};
    if (options_.max_tokens) body["max_tokens"] = *options_.max_tokens;
    if (options_.temperature) body["temperature"] = *options_.temperature;

    Answer answer;
    std::string raw;
    Status failure;
    const auto start = std::chrono::steady_clock::now();
    const auto elapsed = [start] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    EventParser events([&](std::string_view data) {
      const Result<Json> json = data == "[DONE]" ? Result<Json>(Json::object()) : ParseJson(data);
      if (!json.ok() || !json->is_object()) return;
      if (json->contains("error")) failure = ServerError(200, std::string(data));
      TakeChunk(*json, elapsed(), &answer);
    });
    const Result<int> status = Fetch(url_, "POST", "/v1/chat/completions", DumpJson(body), StopRequested,
                                     [&](int code, std::string_view bytes) {
                                       if (code == 200) {
                                         events.Push(bytes);
                                       } else {
                                         raw.append(bytes);
                                       }
                                     });
    answer.seconds = elapsed();
    if (!status.ok() && status.status().code() != StatusCode::kCancelled) return status.status();
    answer.stopped = !status.ok();
    if (status.ok() && *status != 200) return ServerError(*status, raw);
    if (!failure.ok()) return failure;
    return answer;
  }

  void TakeChunk(const Json& chunk, double now, Answer* answer) {
    if (const auto usage = chunk.find("usage"); usage != chunk.end() && usage->is_object()) {
      answer->num_tokens =
          JsonInt(*usage, "completion_tokens").ok() ? *JsonInt(*usage, "completion_tokens") : 0;
    }
    const auto choices = chunk.find("choices");
    if (choices == chunk.end() || !choices->is_array() || choices->empty()) return;
    const auto delta = (*choices)[0].find("delta");
    if (delta == (*choices)[0].end()) return;
    const Result<std::string> text = JsonString(*delta, "content");
    if (!text.ok() || text->empty()) return;
    if (answer->text.empty()) answer->first_seconds = now;
    answer->text += *text;
    Print(*text, to_terminal_);
  }

  const HttpUrl url_;
  const ChatOptions& options_;
  std::string model_;
  const bool to_terminal_;
  std::string system_;
  OrderedJson messages_;
};

int AskOnce(Chat& chat, const std::string& prompt) {
  const Result<Answer> answer = chat.Ask(prompt);
  if (!answer.ok()) {
    std::fprintf(stderr, "phalanx chat: %s\n", answer.status().message().c_str());
    return 2;
  }
  Print("\n", true);
  return answer->stopped ? 130 : 0;
}

void PrintSpeed(const Answer& answer) {
  const double seconds = answer.seconds - answer.first_seconds;
  if (answer.stopped || answer.num_tokens < 2 || seconds <= 0) return;
  std::fprintf(stderr, "\033[2m%lld tokens, first after %.0f ms, then %.0f per second\033[0m\n",
               static_cast<long long>(answer.num_tokens), answer.first_seconds * 1e3,
               static_cast<double>(answer.num_tokens - 1) / seconds);
}

int Converse(Chat& chat, const std::string& url) {
  std::printf(
      "%s on %s. /reset forgets the conversation, /system TEXT sets the system message, /exit ends,\n"
      "Ctrl-C stops an answer.\n",
      chat.model().c_str(), url.c_str());
  LineReader reader;
  std::string line;
  for (;;) {
    interrupted = 0;
    Print("> ", true);
    const LineReader::Outcome outcome = reader.Next(&line);
    if (outcome == LineReader::Outcome::kInterrupted) {
      Print("\n(/exit or Ctrl-D ends)\n", true);
      continue;
    }
    if (outcome == LineReader::Outcome::kEnd || line == "/exit" || line == "/quit") break;
    if (line.empty()) continue;
    if (line == "/reset") {
      chat.Reset();
    } else if (line.starts_with("/system")) {
      chat.SetSystem(line.size() > 8 ? line.substr(8) : "");
    } else if (line.starts_with('/')) {
      Print("Commands: /reset, /system TEXT, /exit\n", true);
    } else {
      const Result<Answer> answer = chat.Ask(line);
      Print("\n", true);
      if (!answer.ok()) {
        std::fprintf(stderr, "phalanx chat: %s\n", answer.status().message().c_str());
      } else {
        PrintSpeed(*answer);
      }
    }
  }
  Print("\n", true);
  return 0;
}

}  // namespace

int RunChat(const ChatOptions& options) {
  const Result<HttpUrl> url = ParseHttpUrl(options.url);
  if (!url.ok()) {
    std::fprintf(stderr, "phalanx chat: %s\n", url.status().message().c_str());
    return 2;
  }
  CatchInterrupts();
  Chat chat(*url, options);
  const Status connected = chat.Connect();
  if (!connected.ok()) {
    std::fprintf(stderr, "phalanx chat: %s\n", connected.message().c_str());
    return connected.code() == StatusCode::kCancelled ? 130 : 2;
  }
  if (!options.prompt.empty()) return AskOnce(chat, options.prompt);
  if (::isatty(STDIN_FILENO) != 1) return AskOnce(chat, ReadAllInput());
  return Converse(chat, options.url);
}

}  // namespace phalanx
