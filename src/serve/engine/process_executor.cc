#include "serve/engine/process_executor.h"

#include <algorithm>

namespace phalanx {

static_assert(Executor::kMaxInFlight <= kStepSlots);

Result<std::unique_ptr<ProcessExecutor>> ProcessExecutor::Start(const ProcessExecutorOptions& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<WorkerSupervisor> supervisor, WorkerSupervisor::Start(options));
  return std::unique_ptr<ProcessExecutor>(new ProcessExecutor(std::move(supervisor)));
}

ProcessExecutor::ProcessExecutor(std::unique_ptr<WorkerSupervisor> supervisor)
    : supervisor_(std::move(supervisor)), domains_(static_cast<size_t>(facts().num_domains)) {}

ProcessExecutor::~ProcessExecutor() {
  Shutdown();
}

void ProcessExecutor::Shutdown() {
  supervisor_->Shutdown();
}

Status ProcessExecutor::Submit(const StepPlan& plan) {
  CHECK(plan.domain >= 0 && plan.domain < facts().num_domains);
  if (const auto failure = supervisor_->Failure(plan.domain)) return failure->status;
  Domain& domain = domains_[static_cast<size_t>(plan.domain)];
  CHECK(static_cast<int>(domain.steps.size()) < kMaxInFlight);
  RETURN_IF_ERROR(supervisor_->channel().Publish(plan));
  domain.steps.push_back({plan.step_id, std::chrono::steady_clock::now()});
  return Status::Ok();
}

std::vector<StepResult> ProcessExecutor::Collect() {
  std::vector<StepResult> results;
  for (int32_t domain = 0; domain < facts().num_domains; ++domain) CollectDomain(domain, &results);
  return results;
}

void ProcessExecutor::CollectDomain(int32_t index, std::vector<StepResult>* results) {
  Domain& domain = domains_[static_cast<size_t>(index)];
  if (domain.steps.empty()) return;
  // A failure known before we look: steps that were finished before it still count, and come first.
  auto failure = supervisor_->Failure(index);
  while (!domain.steps.empty()) {
    std::optional<StepResult> result = supervisor_->channel().Collect(index);
    if (!result) break;
    domain.steps.pop_front();
    domain.last_collected = std::chrono::steady_clock::now();
    const bool ok = result->status.ok();
    if (!ok) {
      result->failed_rank = index * supervisor_->channel().shape().ranks_per_domain + result->failed_rank;
      // The ranks no longer agree with the scheduler on what has been computed.
      failure = supervisor_->FailDomain(index, {result->status, result->failed_rank});
    }
    results->push_back(*std::move(result));
    if (!ok) break;
  }
  if (!failure) {
    CheckDeadline(index);
    failure = supervisor_->Failure(index);
  }
  if (!failure) return;
  for (const InFlight& step : domain.steps) {
    StepResult& result = results->emplace_back();
    result.step_id = step.step_id;
    result.domain = index;
    result.status = failure->status;
    result.failed_rank = failure->rank;
  }
  domain.steps.clear();
}

SteadyTime ProcessExecutor::StepDeadline(const Domain& domain) const {
  if (domain.steps.empty()) return SteadyTime::max();
  return std::max(domain.steps.front().submitted, domain.last_collected) +
         supervisor_->options().step_timeout;
}

void ProcessExecutor::CheckDeadline(int32_t index) {
  const Domain& domain = domains_[static_cast<size_t>(index)];
  if (domain.steps.empty() || std::chrono::steady_clock::now() < StepDeadline(domain)) return;
  const int silent = std::max(0, supervisor_->channel().FirstUnfinishedRank(index));
  const int rank = index * supervisor_->channel().shape().ranks_per_domain + silent;
  supervisor_->FailDomain(index,
                          {Unavailable(supervisor_->RankName(rank) + " has not finished step " +
                                       std::to_string(domain.steps.front().step_id) + " in " +
                                       std::to_string(supervisor_->options().step_timeout.count()) + " ms"),
                           rank});
}

void ProcessExecutor::WaitForWork(std::chrono::milliseconds timeout) {
  SteadyTime deadline = std::chrono::steady_clock::now() + timeout;
  for (const Domain& domain : domains_) deadline = std::min(deadline, StepDeadline(domain));
  supervisor_->channel().WaitForRing(deadline);
}

void ProcessExecutor::Wake() {
  supervisor_->channel().Ring();
}

}  // namespace phalanx
