#include "plan/codec.h"

#include <algorithm>
#include <string>

#include "base/bytes.h"

namespace phalanx {
namespace {

// First in every message; the last digit counts versions of the format.
constexpr uint32_t kPlanMark = 0x50485801;
constexpr uint32_t kResultMark = 0x50485881;
// Fewest bytes that one element takes: bounds the memory that a count of them may ask for.
constexpr size_t kMinBatchBytes = 12;
constexpr size_t kMinStartBytes = 64;
constexpr size_t kMinStepBytes = 29;
constexpr size_t kMinTokenBytes = 14;
constexpr size_t kMinLogprobsBytes = 12;
constexpr size_t kMinPromptBytes = 20;
constexpr size_t kMaxMessageBytes = 4096;

void Put(const SamplingParams& params, ByteWriter* out) {
  out->Put(params.temperature);
  out->Put(params.top_k);
  out->Put(params.top_p);
  out->Put(params.min_p);
  out->Put(params.repetition_penalty);
  out->Put(params.presence_penalty);
  out->Put(params.frequency_penalty);
  out->Put(params.seed);
  out->Put(params.num_logprobs);
  out->Put(params.num_prompt_logprobs);
  out->PutVector(params.stop_token_ids);
}

void Get(ByteReader* in, SamplingParams* params) {
  params->temperature = in->Get<float>();
  params->top_k = in->Get<int32_t>();
  params->top_p = in->Get<float>();
  params->min_p = in->Get<float>();
  params->repetition_penalty = in->Get<float>();
  params->presence_penalty = in->Get<float>();
  params->frequency_penalty = in->Get<float>();
  params->seed = in->Get<uint64_t>();
  params->num_logprobs = in->Get<int32_t>();
  params->num_prompt_logprobs = in->Get<int32_t>();
  in->GetVector(&params->stop_token_ids);
}

void Put(const Batch& batch, ByteWriter* out) {
  out->PutVector(batch.ended);
  out->Put(static_cast<uint32_t>(batch.started.size()));
  for (const SequenceStart& start : batch.started) {
    out->Put(start.id);
    out->Put(start.choice);
    out->Put(start.num_prompt_tokens);
    out->Put(start.reserved_length);
    Put(start.sampling, out);
  }
  out->Put(static_cast<uint32_t>(batch.steps.size()));
  for (const SequenceStep& step : batch.steps) {
    out->Put(step.id);
    out->Put(step.first_position);
    out->Put(step.num_new_tokens);
    out->Put(static_cast<uint8_t>(step.samples));
    out->PutVector(step.token_ids);
    out->PutVector(step.new_block_ids);
  }
}

void Get(ByteReader* in, Batch* batch) {
  in->GetVector(&batch->ended);
  batch->started.resize(in->GetCount(kMinStartBytes));
  for (SequenceStart& start : batch->started) {
    start.id = in->Get<SequenceId>();
    start.choice = in->Get<int32_t>();
    start.num_prompt_tokens = in->Get<int32_t>();
    start.reserved_length = in->Get<int64_t>();
    Get(in, &start.sampling);
  }
  batch->steps.resize(in->GetCount(kMinStepBytes));
  for (SequenceStep& step : batch->steps) {
    step.id = in->Get<SequenceId>();
    step.first_position = in->Get<int64_t>();
    step.num_new_tokens = in->Get<int32_t>();
    step.samples = in->Get<uint8_t>() != 0;
    in->GetVector(&step.token_ids);
    in->GetVector(&step.new_block_ids);
  }
}

void Put(const TokenLogprobs& logprobs, ByteWriter* out) {
  out->Put(logprobs.token_id);
  out->Put(logprobs.logprob);
  out->PutVector(logprobs.top);
}

void Get(ByteReader* in, TokenLogprobs* logprobs) {
  logprobs->token_id = in->Get<int32_t>();
  logprobs->logprob = in->Get<float>();
  in->GetVector(&logprobs->top);
}

void Put(const Status& status, ByteWriter* out) {
  const std::string& message = status.message();
  const size_t length = std::min(message.size(), kMaxMessageBytes);
  out->Put(static_cast<uint8_t>(status.code()));
  out->Put(static_cast<uint32_t>(length));
  out->PutRaw(message.data(), length);
}

Status GetStatus(ByteReader* in) {
  const uint8_t code = in->Get<uint8_t>();
  std::string message(in->GetCount(1), '\0');
  in->GetRaw(message.data(), message.size());
  if (code > static_cast<uint8_t>(StatusCode::kInternal)) in->Fail();
  if (!in->ok() || code == static_cast<uint8_t>(StatusCode::kOk)) return Status::Ok();
  return Status(static_cast<StatusCode>(code), std::move(message));
}

Result<size_t> Finish(const ByteWriter& writer, std::string_view what, size_t room) {
  if (writer.ok()) return writer.size();
  return ResourceExhausted(std::string(what) + " does not fit into " + std::to_string(room) + " bytes");
}

Status Check(const ByteReader& reader, std::string_view what) {
  if (reader.ok() && reader.remaining() == 0) return Status::Ok();
  return Internal("these bytes are no " + std::string(what));
}

}  // namespace

Result<size_t> EncodeStepPlan(const StepPlan& plan, std::span<std::byte> out) {
  ByteWriter writer(out);
  writer.Put(kPlanMark);
  writer.Put(plan.step_id);
  writer.Put(plan.domain);
  writer.Put(static_cast<uint32_t>(plan.batches.size()));
  for (const Batch& batch : plan.batches) Put(batch, &writer);
  return Finish(writer, "a step plan", out.size());
}

Status DecodeStepPlan(std::span<const std::byte> bytes, StepPlan* plan) {
  ByteReader reader(bytes);
  if (reader.Get<uint32_t>() != kPlanMark) reader.Fail();
  plan->step_id = reader.Get<StepId>();
  plan->domain = reader.Get<int32_t>();
  plan->batches.resize(reader.GetCount(kMinBatchBytes));
  for (Batch& batch : plan->batches) Get(&reader, &batch);
  return Check(reader, "step plan");
}

Result<size_t> EncodeStepResult(const StepResult& result, std::span<std::byte> out) {
  ByteWriter writer(out);
  writer.Put(kResultMark);
  writer.Put(result.step_id);
  writer.Put(result.domain);
  Put(result.status, &writer);
  writer.Put(result.failed_rank);
  writer.Put(static_cast<uint32_t>(result.tokens.size()));
  for (const SampledToken& token : result.tokens) {
    writer.Put(token.id);
    writer.Put(token.token_id);
    writer.Put(static_cast<uint8_t>(token.stopped));
    writer.Put(static_cast<uint8_t>(token.has_logprobs));
    if (token.has_logprobs) Put(token.logprobs, &writer);
  }
  writer.Put(static_cast<uint32_t>(result.prompt_logprobs.size()));
  for (const PromptLogprobs& prompt : result.prompt_logprobs) {
    writer.Put(prompt.id);
    writer.Put(prompt.first_position);
    writer.Put(static_cast<uint32_t>(prompt.tokens.size()));
    for (const TokenLogprobs& token : prompt.tokens) Put(token, &writer);
  }
  writer.Put(result.num_tokens);
  writer.Put(result.seconds);
  return Finish(writer, "a step result", out.size());
}

Status DecodeStepResult(std::span<const std::byte> bytes, StepResult* result) {
  ByteReader reader(bytes);
  if (reader.Get<uint32_t>() != kResultMark) reader.Fail();
  result->step_id = reader.Get<StepId>();
  result->domain = reader.Get<int32_t>();
  result->status = GetStatus(&reader);
  result->failed_rank = reader.Get<int32_t>();
  result->tokens.resize(reader.GetCount(kMinTokenBytes));
  for (SampledToken& token : result->tokens) {
    token.id = reader.Get<SequenceId>();
    token.token_id = reader.Get<int32_t>();
    token.stopped = reader.Get<uint8_t>() != 0;
    token.has_logprobs = reader.Get<uint8_t>() != 0;
    if (token.has_logprobs) Get(&reader, &token.logprobs);
  }
  result->prompt_logprobs.resize(reader.GetCount(kMinPromptBytes));
  for (PromptLogprobs& prompt : result->prompt_logprobs) {
    prompt.id = reader.Get<SequenceId>();
    prompt.first_position = reader.Get<int64_t>();
    prompt.tokens.resize(reader.GetCount(kMinLogprobsBytes));
    for (TokenLogprobs& token : prompt.tokens) Get(&reader, &token);
  }
  result->num_tokens = reader.Get<int64_t>();
  result->seconds = reader.Get<double>();
  return Check(reader, "step result");
}

}  // namespace phalanx
