#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "serve/api/api_context.h"
#include "serve/api/generation_params.h"
#include "serve/api/reply_format.h"
#include "serve/api/response_stream.h"
#include "serve/http/event_writer.h"

namespace phalanx {

// A parsed request, ready for the engine.
struct GenerationSpec {
  struct Prompt {
    std::vector<int32_t> token_ids;
    std::string echo;  // text that the answer begins with
  };

  GenerationParams params;
  std::vector<Prompt> prompts;  // each is an engine request of its own, with n choices
  std::optional<int32_t> data_parallel_rank;
  std::unique_ptr<ReplyFormat> format;
  std::string prompt_param;  // the field that errors about the prompt name: "messages"
  std::string x_request_id;  // sent back as a header
};

// One inference request between the engine and its client: submits the prompts, turns their outputs into text and
// events or one reply, ends choices at stop strings, aborts when the client goes away. Keeps itself alive through the
// engine's callbacks. The engine's thread, the connection's and the one that starts it meet under its lock, which is
// never held while the engine is called.
class Generation : public std::enable_shared_from_this<Generation> {
 public:
  // Answers on `writer`, whatever happens.
  static void Start(GenerationSpec spec, ApiContext& context, std::shared_ptr<EventWriter> writer);

  // Use Start.
  Generation(GenerationSpec spec, ApiContext& context, std::shared_ptr<EventWriter> writer);

 private:
  struct Choice {
    ResponseStream stream;
    bool begun = false;
    bool ended = false;
    int64_t num_tokens = 0;
  };
  struct PromptState {
    RequestId request_id = 0;
    int64_t num_cached_tokens = 0;
    std::vector<TokenLogprobs> logprobs;  // of its tokens but the first, for echo
    std::vector<SequenceOutput> held;     // outputs that came before all of those were there
    SteadyTime last_output;
    bool had_output = false;
  };
  // What has to be asked of the engine once the lock is free.
  struct Requests {
    std::vector<std::pair<RequestId, int32_t>> finish;
    std::vector<RequestId> abort;
  };

  void SubmitAll();
  void OnOutput(size_t prompt, const RequestOutput& output);
  void OnClientGone();

  // Under the lock.
  bool AwaitsPromptLogprobs(const PromptState& state, size_t prompt) const;
  void Advance(size_t prompt, const SequenceOutput& output, Requests* requests);
  // The engine is done with it: no choice stays open.
  void EndPrompt(size_t prompt, Requests* requests);
  void Emit(size_t prompt, size_t choice, ChoiceDelta delta);
  void EndChoice(Choice* choice);
  void Observe(PromptState* state, const RequestOutput& output);
  void Flush();
  void Complete();
  void Fail(const Status& status, Requests* requests);
  void AbortAll(Requests* requests);
  void Done(bool success);

  void Ask(const Requests& requests);

  GenerationSpec spec_;
  ApiContext& context_;
  const std::shared_ptr<EventWriter> writer_;
  const SteadyTime start_;

  std::mutex mutex_;
  std::vector<Choice> choices_;  // [prompt * n + index]
  std::vector<PromptState> prompts_;
  size_t num_ended_ = 0;
  bool streaming_ = false;  // the head of the stream is out
  bool done_ = false;       // answered, or nobody is there
  std::string events_;      // of the output at hand
  std::string text_;        // scratch
};

}  // namespace phalanx
