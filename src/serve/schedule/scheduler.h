#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "plan/request.h"
#include "plan/step_plan.h"
#include "plan/step_result.h"
#include "serve/schedule/block_manager.h"
#include "serve/schedule/group.h"
#include "serve/schedule/request_output.h"
#include "serve/schedule/scheduler_options.h"
#include "serve/schedule/sequence.h"

namespace phalanx {

// Decides what each group computes in each step: continuous batching with chunked prefill over a paged cache.
// Pure: no thread, no lock, no clock, no randomness; the same calls give the same plans.
//
// Binding is late. A request waits in one queue, first come first served, and is given to a group only when a
// group has room to begin with it at once; among those with room the placement policy chooses. So no request
// waits behind a long one in a group while another group is idle, and the choice rests on the state of that
// moment. A request that is pinned to a group, and choices of a request beyond the first, wait in the queue
// of their group. The head of the common queue is overtaken by nobody, the head of a group's queue by nobody
// who wants the same group.
//
// Plans run ahead: up to max_in_flight steps of a domain may be planned before the first one's result is
// known. A sequence in such a plan takes one row for "the last token that it sampled"; what is known
// beforehand (length limits) is kept, a stop token found meanwhile makes the row of the next step void, and
// its token is dropped here.
class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // Queues a request under its `id`, which must be new. Errors: those of ValidateRequest; Unavailable: no
  // group that may take it is left. The request is not queued then.
  Status Add(Request request);
  // Ends a request; its blocks are free at once. `reason` Ok: every unfinished choice ends with kAbort; else
  // with kError and the output carries it. The final output; none if the id is unknown (it has ended before).
  std::optional<RequestOutput> Abort(RequestId request_id, Status reason = Status::Ok());
  // Ends one choice as if it had stopped by itself, without an output for it. The final output of the request
  // if this was its last choice. Unknown ids and ended choices are ignored.
  std::optional<RequestOutput> FinishSequence(RequestId request_id, int32_t index);

  // The next step of a domain; none: nothing to compute, max_in_flight steps under way, or the domain has
  // failed.
  std::optional<StepPlan> Schedule(int32_t domain);
  // The result of the oldest step under way in its domain. A failed one ends every request of the domain with
  // its Status; later results of the domain are ignored.
  std::vector<RequestOutput> Update(StepResult result);
  // The domain is lost: ends every request that is computed there, or could be computed nowhere else.
  std::vector<RequestOutput> FailDomain(int32_t domain, const Status& status);

  int32_t num_in_flight(int32_t domain) const {
    return static_cast<int32_t>(domains_[domain].in_flight.size());
  }
  int64_t num_requests() const { return static_cast<int64_t>(requests_.size()); }
  int64_t num_running_requests() const { return num_running_requests_; }
  GroupStats Stats(int32_t group) const { return groups_[group].Stats(); }
  const SchedulerOptions& options() const { return options_; }
  // Checks every invariant that joins sequences, groups and blocks (slow; for tests).
  void CheckInvariants() const;

 private:
  struct StepInFlight {
    StepId step_id = 0;
    int64_t num_samples = 0;
    std::vector<SequenceId> ending;  // sequences without new tokens whose last row is in this step
  };
  struct Domain {
    StepId next_step = 1;
    std::deque<StepInFlight> in_flight;
    Status failure;
  };

  Domain& DomainOf(int32_t group) { return domains_[group / options_.groups_per_domain()]; }
  const Domain& DomainOf(int32_t group) const { return domains_[group / options_.groups_per_domain()]; }

  void PlaceWaiting();
  // The next one in order of arrival among the queues that are not closed; null if none.
  Sequence* NextWaiting() const;
  // False: it must wait, and so must everything behind it (its group is closed, or all are).
  bool TryPlace(Sequence* sequence);
  int32_t GroupWithRoom(const Sequence& sequence);
  void RecordStep(Domain* domain, const StepPlan& plan);

  Sequence* Find(SequenceId id) const;
  RequestOutput& OutputOf(LiveRequest* request, std::vector<RequestOutput>* outputs);
  void AddToken(Sequence* sequence, SampledToken token, std::vector<RequestOutput>* outputs);
  void AddPromptLogprobs(PromptLogprobs logprobs, std::vector<RequestOutput>* outputs);
  // Forgets one sequence, and with the last one its request. True if it was the last.
  bool EndSequence(Sequence* sequence);
  RequestOutput EndRequest(LiveRequest* request, const Status& reason);

  const SchedulerOptions options_;
  BlockManager blocks_;
  std::vector<Group> groups_;
  std::vector<Domain> domains_;

  std::unordered_map<RequestId, std::unique_ptr<LiveRequest>> requests_;
  std::unordered_map<SequenceId, Sequence*> sequences_;
  std::deque<LiveRequest*> queue_;  // not placed, not pinned; first come first served
  SequenceId next_sequence_id_ = 1;
  int64_t num_running_requests_ = 0;
  int32_t last_placed_group_ = -1;

  std::vector<bool> closed_;           // by group, while placing
  std::vector<GroupLoad> candidates_;  // while placing
};

}  // namespace phalanx
