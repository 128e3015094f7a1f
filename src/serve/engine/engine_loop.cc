#include "serve/engine/engine_loop.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/log.h"

namespace phalanx {
namespace {

constexpr std::chrono::milliseconds kLongestSleep{1000};

EngineOptions Bounded(EngineOptions options, const ExecutorFacts& facts) {
  if (facts.max_model_len > 0) options.max_seq_len = std::min(options.max_seq_len, facts.max_model_len);
  options.max_input_tokens = std::min(options.max_input_tokens, options.max_seq_len);
  return options;
}

SchedulerOptions MakeSchedulerOptions(const EngineOptions& engine, const ExecutorFacts& facts) {
  SchedulerOptions options;
  options.num_groups = facts.num_groups;
  options.num_domains = facts.num_domains;
  options.max_in_flight = Executor::kMaxInFlight;
  options.block_size = facts.block_size;
  options.num_blocks = facts.num_blocks;
  options.blocks_per_group = facts.blocks_per_group;
  options.max_seq_len = engine.max_seq_len;
  options.max_output_tokens = engine.max_output_tokens;
  options.max_batch_size = engine.max_batch_size;
  options.max_step_tokens = engine.max_step_tokens;
  options.max_prefill_batch_size = engine.max_prefill_batch_size;
  options.prefill_chunk_tokens = engine.prefill_chunk_tokens;
  options.max_running_requests = engine.max_running_requests;
  options.placement = engine.placement;
  return options;
}

Status CheckTokens(const Request& request, const EngineOptions& options, int32_t vocab_size) {
  const int64_t num_prompt = static_cast<int64_t>(request.prompt_token_ids.size());
  if (num_prompt > options.max_input_tokens) {
    return InvalidArgument("the prompt has " + std::to_string(num_prompt) + " tokens, at most " +
                           std::to_string(options.max_input_tokens) + " are allowed")
        .WithParam("prompt");
  }
  for (int32_t token : request.prompt_token_ids) {
    if (token < 0 || (vocab_size > 0 && token >= vocab_size)) {
      return InvalidArgument("token id " + std::to_string(token) +
                             " in the prompt is not in the vocabulary of " + std::to_string(vocab_size))
          .WithParam("prompt");
    }
  }
  return Status::Ok();
}

// Unavailable, with the rank in its text once.
Status RankFailure(const Status& cause, int32_t failed_rank) {
  const std::string rank = "rank " + std::to_string(failed_rank);
  if (failed_rank < 0 || cause.message().find(rank) != std::string::npos) return Unavailable(cause.message());
  return Unavailable(rank + ": " + cause.message());
}

Status Stopping() {
  return Cancelled("the service is stopping");
}

}  // namespace

Engine::Loop::Loop(const EngineOptions& options, Executor* executor, const Clock* clock)
    : options_(Bounded(options, executor->facts())),
      executor_(executor),
      clock_(clock != nullptr ? clock : &real_clock_),
      scheduler_(MakeSchedulerOptions(options_, executor->facts())),
      queue_(options_.max_queued_requests, options_.max_running_requests),
      failed_(static_cast<size_t>(executor->facts().num_domains), false) {
  PublishStats();
}

void Engine::Loop::Start() {
  std::lock_guard lock(thread_mutex_);
  CHECK(!thread_.joinable());
  queue_.SetState(Status::Ok());
  thread_ = std::thread([this] { Run(); });
}

void Engine::Loop::Drain(std::chrono::milliseconds deadline) {
  queue_.Close(Stopping());
  if (queue_.WaitUntilIdle(deadline)) return;
  cancel_all_ = true;
  do {
    executor_->Wake();
  } while (!queue_.WaitUntilIdle(kLongestSleep));
}

void Engine::Loop::Stop() {
  Drain(std::chrono::milliseconds(0));
  std::lock_guard lock(thread_mutex_);
  if (!thread_.joinable()) return;
  stop_ = true;
  executor_->Wake();
  thread_.join();
}

Result<RequestId> Engine::Loop::Submit(Request request, OutputCallback on_output) {
  RETURN_IF_ERROR(CheckTokens(request, options_, executor_->facts().vocab_size));
  RETURN_IF_ERROR(ValidateRequest(request, scheduler_.options()));
  ASSIGN_OR_RETURN(const RequestId id, queue_.Submit(std::move(request), std::move(on_output)));
  executor_->Wake();
  return id;
}

void Engine::Loop::Command(EngineCommand::Kind kind, RequestId request_id, int32_t index) {
  queue_.Push({kind, request_id, index, {}, {}});
  executor_->Wake();
}

EngineStats Engine::Loop::Stats() const {
  const int64_t num_unseen = queue_.num_unseen();
  std::lock_guard lock(stats_mutex_);
  EngineStats stats = stats_;
  stats.queued_requests += num_unseen;
  return stats;
}

Status Engine::Loop::Health() const {
  {
    std::lock_guard lock(stats_mutex_);
    RETURN_IF_ERROR(health_);
  }
  return queue_.state();
}

void Engine::Loop::Run() {
  while (!stop_) {
    now_ = clock_->Now();
    for (StepResult& result : executor_->Collect()) {
      HandleResult(std::move(result));
      TakeCommands();
    }
    TakeCommands();
    if (cancel_all_) CancelAll();
    ExpireDeadlines();
    ScheduleAll();
    PublishStats();
    executor_->WaitForWork(TimeToNextDeadline());
  }
}

void Engine::Loop::HandleResult(StepResult result) {
  if (failed_[static_cast<size_t>(result.domain)]) return;
  if (!result.status.ok()) {
    FailDomain(result.domain, result.status, result.failed_rank);
    return;
  }
  for (const RequestOutput& output : scheduler_.Update(std::move(result))) Publish(output);
}

void Engine::Loop::TakeCommands() {
  queue_.Take(&commands_);
  for (EngineCommand& command : commands_) {
    switch (command.kind) {
      case EngineCommand::Kind::kSubmit:
        Admit(std::move(command));
        break;
      case EngineCommand::Kind::kAbort:
        EndRequest(command.request_id, Status::Ok());
        break;
      case EngineCommand::Kind::kFinishSequence:
        if (const auto output = scheduler_.FinishSequence(command.request_id, command.index))
          Publish(*output);
        break;
    }
  }
}

void Engine::Loop::Admit(EngineCommand command) {
  const RequestId id = command.request_id;
  Live live;
  live.on_output = std::move(command.on_output);
  live.submitted = live.last_output = now_;
  live.by_submission = by_submission_.insert(by_submission_.end(), id);
  live.by_last_output = by_last_output_.insert(by_last_output_.end(), id);
  live_.emplace(id, std::move(live));
  const Status added = scheduler_.Add(std::move(command.request));
  if (added.ok()) return;
  RequestOutput refused;
  refused.request_id = id;
  refused.status = added;
  refused.finished = true;
  Publish(refused);
}

void Engine::Loop::EndRequest(RequestId request_id, Status reason) {
  if (const auto output = scheduler_.Abort(request_id, std::move(reason))) Publish(*output);
}

void Engine::Loop::ExpireDeadlines() {
  const auto text = [](const char* what, std::chrono::seconds limit) {
    return std::string(what) + " took longer than " + std::to_string(limit.count()) + " s";
  };
  while (!by_submission_.empty() &&
         now_ - live_.at(by_submission_.front()).submitted >= options_.request_timeout) {
    EndRequest(by_submission_.front(), DeadlineExceeded(text("the request", options_.request_timeout)));
  }
  while (!by_last_output_.empty() &&
         now_ - live_.at(by_last_output_.front()).last_output >= options_.token_timeout) {
    EndRequest(by_last_output_.front(), DeadlineExceeded(text("one token", options_.token_timeout)));
  }
}

void Engine::Loop::CancelAll() {
  while (!by_submission_.empty()) EndRequest(by_submission_.front(), Stopping());
}

void Engine::Loop::ScheduleAll() {
  // A request placed while one domain is planned may belong to a domain that was asked before it: ask until
  // nobody has anything left.
  for (bool planned = true; planned;) {
    planned = false;
    for (int32_t domain = 0; domain < scheduler_.options().num_domains; ++domain) {
      const auto plan = scheduler_.Schedule(domain);
      if (!plan) continue;
      planned = true;
      const Status sent = executor_->Submit(*plan);
      if (!sent.ok()) FailDomain(domain, sent, -1);
    }
  }
}

void Engine::Loop::FailDomain(int32_t domain, const Status& cause, int32_t failed_rank) {
  const Status failure = RankFailure(cause, failed_rank);
  LogError("domain {} is lost: {}", domain, failure.message());
  failed_[static_cast<size_t>(domain)] = true;
  {
    std::lock_guard lock(stats_mutex_);
    if (health_.ok()) health_ = failure;
  }
  if (std::find(failed_.begin(), failed_.end(), false) == failed_.end()) queue_.SetState(failure);
  for (const RequestOutput& output : scheduler_.FailDomain(domain, failure)) Publish(output);
}

void Engine::Loop::Publish(const RequestOutput& output) {
  const auto it = live_.find(output.request_id);
  CHECK(it != live_.end());
  Live& live = it->second;
  if (!output.finished) {
    live.last_output = now_;
    by_last_output_.splice(by_last_output_.end(), by_last_output_, live.by_last_output);
    live.on_output(output);
    return;
  }
  by_submission_.erase(live.by_submission);
  by_last_output_.erase(live.by_last_output);
  const OutputCallback on_output = std::move(live.on_output);
  live_.erase(it);
  on_output(output);
  queue_.RequestEnded();
}

void Engine::Loop::PublishStats() {
  const int64_t running = scheduler_.num_running_requests();
  const int64_t queued = scheduler_.num_requests() - running;
  queue_.SetOccupancy({queued, running});
  std::lock_guard lock(stats_mutex_);
  stats_.running_requests = running;
  stats_.queued_requests = queued;
  stats_.groups.clear();
  for (int32_t g = 0; g < scheduler_.options().num_groups; ++g) stats_.groups.push_back(scheduler_.Stats(g));
}

std::chrono::milliseconds Engine::Loop::TimeToNextDeadline() const {
  std::chrono::nanoseconds left = kLongestSleep;
  if (!by_submission_.empty()) {
    left = std::min<std::chrono::nanoseconds>(
        left, live_.at(by_submission_.front()).submitted + options_.request_timeout - now_);
    left = std::min<std::chrono::nanoseconds>(
        left, live_.at(by_last_output_.front()).last_output + options_.token_timeout - now_);
  }
  return std::max(std::chrono::ceil<std::chrono::milliseconds>(left), std::chrono::milliseconds(1));
}

}  // namespace phalanx
