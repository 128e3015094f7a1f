#include "serve/schedule/scheduler.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"

namespace phalanx {
namespace {

SchedulerOptions Adjusted(SchedulerOptions options) {
  CHECK(options.num_domains > 0 && options.num_groups % options.num_domains == 0);
  CHECK(options.block_size > 0 && options.max_in_flight > 0 && options.max_step_tokens > 0);
  // With a row for every running sequence there is still one left for a prompt, whatever the batch size.
  options.max_batch_size =
      static_cast<int32_t>(std::clamp<int64_t>(options.max_batch_size, 1, options.max_step_tokens));
  options.max_prefill_batch_size = std::max(options.max_prefill_batch_size, 1);
  options.prefill_chunk_tokens = std::max(options.prefill_chunk_tokens, 1);
  options.max_running_requests = std::max<int64_t>(options.max_running_requests, 1);
  return options;
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(Adjusted(options)),
      blocks_(options.num_blocks, options.num_groups, options.blocks_per_group),
      domains_(options.num_domains),
      closed_(options.num_groups, false) {
  groups_.reserve(options_.num_groups);
  for (int32_t g = 0; g < options_.num_groups; ++g) groups_.emplace_back(g, &options_, &blocks_);
  candidates_.reserve(options_.num_groups);
}

Status Scheduler::Add(Request request) {
  RETURN_IF_ERROR(ValidateRequest(request, options_));
  if (request.data_parallel_rank) {
    RETURN_IF_ERROR(DomainOf(*request.data_parallel_rank).failure);
  } else if (std::none_of(domains_.begin(), domains_.end(), [](const Domain& d) { return d.failure.ok(); })) {
    return domains_.front().failure;
  }
  auto live = std::make_unique<LiveRequest>();
  live->request = std::move(request);
  const Request& kept = live->request;
  live->num_unfinished = kept.n;
  live->sequences.reserve(kept.n);
  for (int32_t i = 0; i < kept.n; ++i) {
    auto sequence = std::make_unique<Sequence>();
    sequence->id = next_sequence_id_++;
    sequence->owner = live.get();
    sequence->index = i;
    sequence->max_new_tokens = MaxNewTokens(kept, options_);
    sequences_.emplace(sequence->id, sequence.get());
    live->sequences.push_back(std::move(sequence));
  }
  if (kept.data_parallel_rank) {
    live->group = *kept.data_parallel_rank;
    for (const auto& sequence : live->sequences) groups_[live->group].Bind(sequence.get());
  } else {
    queue_.push_back(live.get());
  }
  const RequestId id = kept.id;
  CHECK(requests_.emplace(id, std::move(live)).second);
  return Status::Ok();
}

std::optional<RequestOutput> Scheduler::Abort(RequestId request_id, Status reason) {
  const auto it = requests_.find(request_id);
  if (it == requests_.end()) return std::nullopt;
  return EndRequest(it->second.get(), reason);
}

std::optional<RequestOutput> Scheduler::FinishSequence(RequestId request_id, int32_t index) {
  const auto it = requests_.find(request_id);
  if (it == requests_.end()) return std::nullopt;
  LiveRequest& live = *it->second;
  if (index < 0 || index >= live.request.n || live.sequences[index] == nullptr) return std::nullopt;
  RequestOutput output;
  output.request_id = request_id;
  output.data_parallel_rank = live.group;
  output.finished = true;
  if (!EndSequence(live.sequences[index].get())) return std::nullopt;
  return output;
}

std::optional<StepPlan> Scheduler::Schedule(int32_t domain_index) {
  Domain& domain = domains_[domain_index];
  if (!domain.failure.ok() || num_in_flight(domain_index) >= options_.max_in_flight) return std::nullopt;
  StepPlan plan;
  plan.domain = domain_index;
  const int32_t num_groups = options_.groups_per_domain();
  const int32_t first_group = domain_index * num_groups;
  plan.batches.resize(num_groups);
  bool decodes = false;
  for (int32_t i = 0; i < num_groups; ++i) {
    groups_[first_group + i].PlanDecodes(&plan.batches[i]);
    decodes = decodes || !plan.batches[i].steps.empty();
  }
  PlaceWaiting();
  bool empty = true;
  for (int32_t i = 0; i < num_groups; ++i) {
    groups_[first_group + i].PlanChunks(decodes, &plan.batches[i]);
    empty = empty && plan.batches[i].steps.empty();
  }
  if (empty) return std::nullopt;
  plan.step_id = domain.next_step++;
  for (int32_t i = 0; i < num_groups; ++i) {
    groups_[first_group + i].FinishPlan(plan.step_id, &plan.batches[i]);
  }
  RecordStep(&domain, plan);
  return plan;
}

void Scheduler::RecordStep(Domain* domain, const StepPlan& plan) {
  StepInFlight record;
  record.step_id = plan.step_id;
  for (const Batch& batch : plan.batches) {
    for (const SequenceStep& step : batch.steps) {
      if (step.samples) {
        ++record.num_samples;
      } else if (const Sequence* sequence = Find(step.id); sequence->finishing()) {
        record.ending.push_back(step.id);
      }
    }
  }
  domain->in_flight.push_back(std::move(record));
}

void Scheduler::PlaceWaiting() {
  for (int32_t g = 0; g < options_.num_groups; ++g) closed_[g] = !DomainOf(g).failure.ok();
  while (Sequence* sequence = NextWaiting()) {
    if (TryPlace(sequence)) continue;
    if (sequence->group < 0) return;
    closed_[sequence->group] = true;
  }
}

Sequence* Scheduler::NextWaiting() const {
  Sequence* next = nullptr;
  for (size_t i = 0; !queue_.empty() && next == nullptr; ++i) next = queue_.front()->sequences[i].get();
  for (int32_t g = 0; g < options_.num_groups; ++g) {
    if (closed_[g] || groups_[g].bound().empty()) continue;
    Sequence* first = groups_[g].bound().front();
    if (next == nullptr || first->id < next->id) next = first;
  }
  return next;
}

bool Scheduler::TryPlace(Sequence* sequence) {
  LiveRequest* owner = sequence->owner;
  if (!owner->running && num_running_requests_ >= options_.max_running_requests) return false;
  // A preempted one waits until the tokens that are still under way are known.
  if (sequence->num_pending > 0) return false;
  int32_t group = sequence->group;
  if (group >= 0) {
    if (!groups_[group].HasRoomFor(*sequence)) return false;
    groups_[group].UnbindFirst();
  } else {
    group = GroupWithRoom(*sequence);
    if (group < 0) return false;
    queue_.pop_front();
    owner->group = group;
    for (const auto& other : owner->sequences) {
      if (other != nullptr && other.get() != sequence) groups_[group].Bind(other.get());
    }
  }
  groups_[group].Place(sequence);
  last_placed_group_ = group;
  if (!owner->running) {
    owner->running = true;
    ++num_running_requests_;
  }
  return true;
}

int32_t Scheduler::GroupWithRoom(const Sequence& sequence) {
  candidates_.clear();
  for (int32_t g = 0; g < options_.num_groups; ++g) {
    if (!closed_[g] && groups_[g].HasRoomFor(sequence)) candidates_.push_back(groups_[g].Load());
  }
  if (candidates_.empty()) return -1;
  PlacementContext context;
  context.num_tokens = sequence.num_known();
  context.max_step_tokens = options_.max_step_tokens;
  context.prefill_chunk_tokens = options_.prefill_chunk_tokens;
  context.num_groups = options_.num_groups;
  context.last_group = last_placed_group_;
  return ChooseGroup(options_.placement, context, candidates_);
}

Sequence* Scheduler::Find(SequenceId id) const {
  const auto it = sequences_.find(id);
  return it == sequences_.end() ? nullptr : it->second;
}

bool Scheduler::EndSequence(Sequence* sequence) {
  LiveRequest* live = sequence->owner;
  if (sequence->group >= 0) {
    groups_[sequence->group].Remove(sequence);
  } else if (live->num_unfinished == 1) {
    queue_.erase(std::find(queue_.begin(), queue_.end(), live));
  }
  sequences_.erase(sequence->id);
  live->sequences[sequence->index].reset();
  if (--live->num_unfinished > 0) return false;
  if (live->running) --num_running_requests_;
  requests_.erase(requests_.find(live->request.id));
  return true;
}

RequestOutput Scheduler::EndRequest(LiveRequest* live, const Status& reason) {
  RequestOutput output;
  output.request_id = live->request.id;
  output.status = reason;
  output.data_parallel_rank = live->group;
  output.finished = true;
  const int32_t n = live->request.n;
  for (int32_t i = 0; i < n; ++i) {
    if (live->sequences[i] == nullptr) continue;
    SequenceOutput& choice = output.sequences.emplace_back();
    choice.index = i;
    choice.finish_reason = reason.ok() ? FinishReason::kAbort : FinishReason::kError;
    if (EndSequence(live->sequences[i].get())) break;
  }
  return output;
}

}  // namespace phalanx
