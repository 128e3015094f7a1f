// What comes back: the Scheduler's half that takes results. A result may name sequences that have ended since
// their step was planned; their tokens are dropped.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "serve/schedule/scheduler.h"

namespace phalanx {

std::vector<RequestOutput> Scheduler::Update(StepResult result) {
  CHECK(result.domain >= 0 && result.domain < options_.num_domains);
  Domain& domain = domains_[result.domain];
  if (!domain.failure.ok()) return {};
  if (!result.status.ok()) return FailDomain(result.domain, result.status);

  CHECK(!domain.in_flight.empty() && domain.in_flight.front().step_id == result.step_id);
  const StepInFlight step = std::move(domain.in_flight.front());
  domain.in_flight.pop_front();
  const int32_t first_group = result.domain * options_.groups_per_domain();
  for (int32_t g = first_group; g < first_group + options_.groups_per_domain(); ++g) {
    groups_[g].StepReturned(result.step_id);
    ++groups_[g].mutable_sums()->steps;
    groups_[g].mutable_sums()->busy_seconds += result.seconds;
  }
  CHECK(static_cast<int64_t>(result.tokens.size()) == step.num_samples);

  std::vector<RequestOutput> outputs;
  outputs.reserve(result.tokens.size() + step.ending.size());
  for (PromptLogprobs& logprobs : result.prompt_logprobs) AddPromptLogprobs(std::move(logprobs), &outputs);
  for (SampledToken& token : result.tokens) {
    if (Sequence* sequence = Find(token.id)) AddToken(sequence, std::move(token), &outputs);
  }
  for (SequenceId id : step.ending) {
    Sequence* sequence = Find(id);
    if (sequence == nullptr) continue;
    RequestOutput& output = OutputOf(sequence->owner, &outputs);
    SequenceOutput& choice = output.sequences.emplace_back();
    choice.index = sequence->index;
    choice.finish_reason = FinishReason::kLength;
    output.finished = EndSequence(sequence);
  }
  for (const RequestOutput& output : outputs) {
    if (!output.finished) requests_.find(output.request_id)->second->output_slot = -1;
  }
  return outputs;
}

RequestOutput& Scheduler::OutputOf(LiveRequest* live, std::vector<RequestOutput>* outputs) {
  if (live->output_slot < 0) {
    live->output_slot = static_cast<int64_t>(outputs->size());
    RequestOutput& output = outputs->emplace_back();
    output.request_id = live->request.id;
    output.data_parallel_rank = live->group;
  }
  return (*outputs)[live->output_slot];
}

void Scheduler::AddToken(Sequence* sequence, SampledToken token, std::vector<RequestOutput>* outputs) {
  CHECK(sequence->num_pending > 0);
  // A row is skipped only after a stop token, and that one ended the sequence here.
  CHECK(token.token_id != SampledToken::kSkipped);
  --sequence->num_pending;
  sequence->output_token_ids.push_back(token.token_id);
  ++groups_[sequence->group].mutable_sums()->generation_tokens;

  RequestOutput& output = OutputOf(sequence->owner, outputs);
  SequenceOutput& choice = output.sequences.emplace_back();
  choice.index = sequence->index;
  choice.token_ids.push_back(token.token_id);
  if (token.has_logprobs) choice.logprobs.push_back(std::move(token.logprobs));
  if (token.stopped) {
    choice.finish_reason = FinishReason::kStop;
  } else if (static_cast<int64_t>(sequence->output_token_ids.size()) == sequence->max_new_tokens) {
    choice.finish_reason = FinishReason::kLength;
  }
  if (choice.finish_reason) output.finished = EndSequence(sequence);
}

void Scheduler::AddPromptLogprobs(PromptLogprobs logprobs, std::vector<RequestOutput>* outputs) {
  Sequence* sequence = Find(logprobs.id);
  if (sequence == nullptr || sequence->index != 0) return;
  LiveRequest* live = sequence->owner;
  // What was computed again has been handed out before.
  const int64_t known = live->next_prompt_logprob - logprobs.first_position;
  const int64_t count = static_cast<int64_t>(logprobs.tokens.size());
  if (known >= count || count == 0) return;
  CHECK(known >= 0);
  RequestOutput& output = OutputOf(live, outputs);
  output.prompt_logprobs.insert(output.prompt_logprobs.end(),
                                std::make_move_iterator(logprobs.tokens.begin() + known),
                                std::make_move_iterator(logprobs.tokens.end()));
  live->next_prompt_logprob += count - known;
}

std::vector<RequestOutput> Scheduler::FailDomain(int32_t domain_index, const Status& status) {
  CHECK(!status.ok());
  Domain& domain = domains_[domain_index];
  domain.failure = status;
  domain.in_flight.clear();
  const bool none_left =
      std::none_of(domains_.begin(), domains_.end(), [](const Domain& d) { return d.failure.ok(); });
  std::vector<LiveRequest*> lost;
  for (const auto& [id, live] : requests_) {
    const bool here = live->group >= 0 && live->group / options_.groups_per_domain() == domain_index;
    if (here || none_left) lost.push_back(live.get());
  }
  std::sort(lost.begin(), lost.end(),
            [](const LiveRequest* a, const LiveRequest* b) { return a->request.id < b->request.id; });
  std::vector<RequestOutput> outputs;
  outputs.reserve(lost.size());
  for (LiveRequest* live : lost) outputs.push_back(EndRequest(live, status));
  return outputs;
}

void Scheduler::CheckInvariants() const {
  std::vector<int32_t> references(options_.num_blocks, 0);
  int64_t num_running = 0;
  for (const auto& [id, live] : requests_) {
    num_running += live->running ? 1 : 0;
    int32_t num_unfinished = 0;
    for (const auto& sequence : live->sequences) {
      if (sequence == nullptr) continue;
      ++num_unfinished;
      CHECK(sequence->owner == live.get() && Find(sequence->id) == sequence.get());
      CHECK(sequence->running == !sequence->block_ids.empty());
      CHECK(sequence->num_computed <= sequence->num_planned() &&
            sequence->num_computed <= sequence->max_computed());
      CHECK(static_cast<int64_t>(sequence->block_ids.size()) * options_.block_size >= sequence->num_computed);
      CHECK(sequence->num_pending <= options_.max_in_flight);
      for (int32_t block : sequence->block_ids) {
        ++references[block];
        CHECK(blocks_.GroupOf(block) == sequence->group);
      }
    }
    CHECK(num_unfinished == live->num_unfinished && num_unfinished > 0);
  }
  CHECK(num_running == num_running_requests_);
  std::vector<int64_t> used(options_.num_groups, 0);
  for (int64_t block = 0; block < options_.num_blocks; ++block) {
    CHECK(blocks_.NumReferences(static_cast<int32_t>(block)) == references[block]);
    if (references[block] > 0) ++used[blocks_.GroupOf(static_cast<int32_t>(block))];
  }
  for (int32_t g = 0; g < options_.num_groups; ++g) {
    CHECK(used[g] == blocks_.NumUsed(g) && used[g] <= options_.blocks_per_group);
    const GroupLoad load = groups_[g].Load();
    int64_t backlog = 0, sampled = 0;
    for (const Sequence* sequence : groups_[g].running()) {
      CHECK(sequence->running && sequence->group == g);
      backlog += sequence->sampled ? 0 : sequence->num_remaining();
      sampled += sequence->sampled ? 1 : 0;
    }
    CHECK(load.backlog_tokens == backlog && load.num_decoding == sampled);
    CHECK(load.num_sequences <= options_.max_batch_size);
    CHECK(std::is_sorted(groups_[g].bound().begin(), groups_[g].bound().end(),
                         [](const Sequence* a, const Sequence* b) { return a->id < b->id; }));
  }
}

}  // namespace phalanx
