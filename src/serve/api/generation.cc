#include "serve/api/generation.h"

#include <algorithm>

#include "serve/api/api_metrics.h"
#include "serve/api/error_reply.h"

namespace phalanx {
namespace {

HttpResponse Head(const std::string& x_request_id) {
  HttpResponse head;
  if (!x_request_id.empty()) head.headers.emplace_back("X-Request-Id", x_request_id);
  return head;
}

}  // namespace

void Generation::Start(GenerationSpec spec, ApiContext& context, std::shared_ptr<EventWriter> writer) {
  auto generation = std::make_shared<Generation>(std::move(spec), context, std::move(writer));
  generation->writer_->OnCancel([weak = std::weak_ptr<Generation>(generation)] {
    if (auto self = weak.lock()) self->OnClientGone();
  });
  generation->SubmitAll();
}

Generation::Generation(GenerationSpec spec, ApiContext& context, std::shared_ptr<EventWriter> writer)
    : spec_(std::move(spec)), context_(context), writer_(std::move(writer)), start_(Now(context)) {
  const GenerationParams& params = spec_.params;
  const auto stops = std::make_shared<const StopStrings>(params.stop);
  const ResponseStream::Options options{.skip_special_tokens = params.skip_special_tokens,
                                        .include_stop_string = params.include_stop_str_in_output};
  const size_t num_choices = spec_.prompts.size() * static_cast<size_t>(params.n);
  choices_.reserve(num_choices);
  for (size_t i = 0; i < num_choices; ++i)
    choices_.push_back({ResponseStream(context_.tokenizer, stops, options)});
  prompts_.resize(spec_.prompts.size());
}

void Generation::SubmitAll() {
  const GenerationParams& params = spec_.params;
  for (size_t p = 0; p < spec_.prompts.size(); ++p) {
    Request request;
    request.prompt_token_ids = spec_.prompts[p].token_ids;
    request.sampling = params.sampling;
    request.max_tokens = params.max_tokens;
    request.n = params.n;
    request.data_parallel_rank = spec_.data_parallel_rank;
    if (params.max_tokens == 0 && params.sampling.num_prompt_logprobs < 0) {
      // Nothing to compute: the echo is the answer.
      RequestOutput output;
      for (int32_t i = 0; i < params.n; ++i) {
        output.sequences.push_back(
            {.index = i, .token_ids = {}, .logprobs = {}, .finish_reason = FinishReason::kLength});
      }
      OnOutput(p, output);
      continue;
    }
    Result<RequestId> id = context_.engine->Submit(
        std::move(request),
        [self = shared_from_this(), p](const RequestOutput& output) { self->OnOutput(p, output); });
    Requests requests;
    {
      std::lock_guard lock(mutex_);
      if (id.ok()) {
        prompts_[p].request_id = *id;
        if (done_) requests.abort.push_back(*id);
      } else if (!done_) {
        Fail(id.status(), &requests);
      }
    }
    Ask(requests);
    if (!id.ok()) return;
  }
}

bool Generation::AwaitsPromptLogprobs(const PromptState& state, size_t prompt) const {
  return spec_.params.sampling.num_prompt_logprobs >= 0 &&
         state.logprobs.size() + 1 < spec_.prompts[prompt].token_ids.size();
}

void Generation::OnOutput(size_t prompt, const RequestOutput& output) {
  Requests requests;
  {
    std::lock_guard lock(mutex_);
    if (done_) return;
    PromptState& state = prompts_[prompt];
    if (state.request_id == 0) state.request_id = output.request_id;
    state.num_cached_tokens = output.num_cached_tokens;
    if (!output.status.ok()) {
      Fail(output.status, &requests);
    } else {
      Observe(&state, output);
      state.logprobs.insert(state.logprobs.end(), output.prompt_logprobs.begin(),
                            output.prompt_logprobs.end());
      if (AwaitsPromptLogprobs(state, prompt) && !output.finished) {
        state.held.insert(state.held.end(), output.sequences.begin(), output.sequences.end());
        return;
      }
      for (const SequenceOutput& sequence : std::exchange(state.held, {}))
        Advance(prompt, sequence, &requests);
      for (const SequenceOutput& sequence : output.sequences) Advance(prompt, sequence, &requests);
      if (output.finished) EndPrompt(prompt, &requests);
      Flush();
      if (num_ended_ == choices_.size()) Complete();
    }
  }
  Ask(requests);
}

void Generation::Advance(size_t prompt, const SequenceOutput& output, Requests* requests) {
  const size_t index = prompt * static_cast<size_t>(spec_.params.n) + static_cast<size_t>(output.index);
  Choice& choice = choices_[index];
  if (choice.ended) return;
  ChoiceDelta delta;
  delta.token_ids = output.token_ids;
  delta.logprobs = output.logprobs;
  text_.clear();

  std::optional<size_t> stop;
  const bool has_stop_token = output.finish_reason == FinishReason::kStop && !output.token_ids.empty();
  for (size_t i = 0; i < output.token_ids.size() && !stop; ++i) {
    const bool is_stop_token = has_stop_token && i + 1 == output.token_ids.size();
    stop = choice.stream.Push(output.token_ids[i], is_stop_token, &text_);
    if (!stop) continue;
    delta.token_ids = delta.token_ids.first(i + 1);
    delta.logprobs = delta.logprobs.first(std::min(delta.logprobs.size(), i + 1));
  }
  if (!stop && output.finish_reason) stop = choice.stream.Finish(&text_);
  choice.num_tokens += static_cast<int64_t>(delta.token_ids.size());
  delta.text = text_;
  if (stop) {
    delta.finish_reason = FinishReason::kStop;
    delta.stop_reason = spec_.params.stop[*stop];
    if (!output.finish_reason) requests->finish.emplace_back(prompts_[prompt].request_id, output.index);
  } else if (output.finish_reason) {
    delta.finish_reason = output.finish_reason;
    const auto& ids = spec_.params.client_stop_token_ids;
    if (has_stop_token && std::binary_search(ids.begin(), ids.end(), output.token_ids.back())) {
      delta.stop_reason = output.token_ids.back();
    }
  }
  Emit(prompt, index, std::move(delta));
}

void Generation::EndPrompt(size_t prompt, Requests* requests) {
  for (int32_t i = 0; i < spec_.params.n; ++i) {
    Advance(prompt, {.index = i, .token_ids = {}, .logprobs = {}, .finish_reason = FinishReason::kAbort},
            requests);
  }
}

void Generation::Emit(size_t prompt, size_t index, ChoiceDelta delta) {
  Choice& choice = choices_[index];
  delta.index = static_cast<int32_t>(index);
  delta.prompt_token_ids = spec_.prompts[prompt].token_ids;
  if (!choice.begun) {
    choice.begun = true;
    delta.first = true;
    delta.echo = spec_.prompts[prompt].echo;
    delta.prompt_logprobs = prompts_[prompt].logprobs;
  }
  if (delta.finish_reason) EndChoice(&choice);
  if (spec_.params.stream) {
    spec_.format->AppendEvents(delta, &events_);
  } else {
    spec_.format->Collect(delta);
  }
}

void Generation::EndChoice(Choice* choice) {
  choice->ended = true;
  ++num_ended_;
}

void Generation::Observe(PromptState* state, const RequestOutput& output) {
  size_t num_tokens = 0;
  for (const SequenceOutput& sequence : output.sequences)
    num_tokens = std::max(num_tokens, sequence.token_ids.size());
  if (num_tokens == 0) return;
  const SteadyTime now = Now(context_);
  if (state->had_output) {
    context_.metrics->ObserveTimePerToken(
        SecondsBetween(state->last_output, now) / static_cast<double>(num_tokens), num_tokens);
  } else {
    context_.metrics->ObserveTimeToFirstToken(SecondsBetween(start_, now));
  }
  state->had_output = true;
  state->last_output = now;
}

void Generation::Flush() {
  if (!spec_.params.stream || events_.empty()) return;
  if (!streaming_) {
    streaming_ = true;
    HttpResponse head = Head(spec_.x_request_id);
    head.content_type = "text/event-stream; charset=utf-8";
    head.headers.emplace_back("Cache-Control", "no-cache");
    writer_->Begin(std::move(head));
  }
  writer_->Write(events_);
  events_.clear();
}

void Generation::Complete() {
  Usage usage;
  for (size_t p = 0; p < prompts_.size(); ++p) {
    const int64_t num_prompt = static_cast<int64_t>(spec_.prompts[p].token_ids.size());
    usage.prompt_tokens += num_prompt;
    usage.cached_tokens += prompts_[p].num_cached_tokens;
    context_.metrics->ObservePromptTokens(num_prompt);
  }
  for (const Choice& choice : choices_) {
    usage.completion_tokens += choice.num_tokens;
    context_.metrics->ObserveGenerationTokens(choice.num_tokens);
  }
  context_.metrics->ObserveRequestTime(SecondsBetween(start_, Now(context_)));
  if (spec_.params.stream) {
    if (spec_.params.include_usage) spec_.format->AppendUsageEvent(usage, &events_);
    events_ += "data: [DONE]\n\n";
    Flush();
    writer_->End();
  } else {
    HttpResponse response = Head(spec_.x_request_id);
    response.body = spec_.format->Whole(usage);
    writer_->Respond(std::move(response));
  }
  Done(true);
}

void Generation::Fail(const Status& status, Requests* requests) {
  Status named = status;
  if (status.param() == "prompt")
    named = Status(status.code(), status.message()).WithParam(spec_.prompt_param);
  const bool too_long = status.param() == "prompt" && status.code() == StatusCode::kInvalidArgument;
  const std::string_view code = too_long && status.message().find("tokens, at most") != std::string::npos
                                    ? "context_length_exceeded"
                                    : std::string_view();
  if (streaming_) {
    events_ += "data: " + ErrorBody(named, code) + "\n\ndata: [DONE]\n\n";
    Flush();
    writer_->End();
  } else {
    HttpResponse response = ErrorReply(named, code);
    if (!spec_.x_request_id.empty()) response.headers.emplace_back("X-Request-Id", spec_.x_request_id);
    writer_->Respond(std::move(response));
  }
  AbortAll(requests);
  Done(false);
}

void Generation::AbortAll(Requests* requests) {
  for (const PromptState& state : prompts_) {
    if (state.request_id != 0) requests->abort.push_back(state.request_id);
  }
}

void Generation::OnClientGone() {
  Requests requests;
  {
    std::lock_guard lock(mutex_);
    if (done_) return;
    AbortAll(&requests);
    Done(false);
  }
  Ask(requests);
}

void Generation::Done(bool success) {
  done_ = true;
  context_.metrics->RequestEnded(success);
}

void Generation::Ask(const Requests& requests) {
  for (const auto& [id, index] : requests.finish) context_.engine->FinishSequence(id, index);
  for (const RequestId id : requests.abort) context_.engine->Abort(id);
}

}  // namespace phalanx
