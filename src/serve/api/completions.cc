// POST /v1/completions.
#include "serve/api/endpoint.h"
#include "serve/api/endpoint_table.h"

namespace phalanx {
namespace {

constexpr int64_t kMaxLogprobs = 5;

Result<std::vector<int32_t>> ReadIds(const BodyFields& body, const OrderedJson& list) {
  std::vector<int32_t> ids;
  ids.reserve(list.size());
  for (const OrderedJson& item : list) {
    if (!item.is_number_integer()) return body.WrongType("prompt", "a list of integers here", item);
    const bool huge = item.is_number_unsigned() && item.get<uint64_t>() > static_cast<uint64_t>(INT32_MAX);
    if (huge || item.get<int64_t>() < 0)
      return body.Error("prompt", "token id " + item.dump() + " is out of range");
    ids.push_back(item.get<int32_t>());
  }
  if (ids.empty()) return body.Error("prompt", "a prompt needs at least one token");
  return ids;
}

Result<std::vector<int32_t>> ReadOne(const BodyFields& body, const OrderedJson& prompt,
                                     const ApiContext& context) {
  if (prompt.is_array()) return ReadIds(body, prompt);
  if (!prompt.is_string()) return body.WrongType("prompt", "a string, token ids, or a list of those", prompt);
  bool add_special_tokens = true;
  RETURN_IF_ERROR(body.ReadBool("add_special_tokens", &add_special_tokens));
  ASSIGN_OR_RETURN(
      std::vector<int32_t> ids,
      context.tokenizer->Encode(prompt.get_ref<const std::string&>(),
                                {.add_special_tokens = add_special_tokens, .parse_special = false}));
  if (ids.empty()) return body.Error("prompt", "a prompt needs at least one token");
  return ids;
}

// A string; ids; a list of strings; a list of lists of ids.
Status ReadPrompts(const BodyFields& body, const ApiContext& context, bool echo, GenerationSpec* spec) {
  const OrderedJson* prompt = body.Find("prompt");
  if (prompt == nullptr) return body.Error("prompt", "prompt is missing");
  if (prompt->is_array() && prompt->empty()) return body.Error("prompt", "prompt must not be empty");
  const bool is_list = prompt->is_array() && !prompt->front().is_number();
  const size_t count = is_list ? prompt->size() : 1;
  for (size_t i = 0; i < count; ++i) {
    const OrderedJson& one = is_list ? (*prompt)[i] : *prompt;
    ASSIGN_OR_RETURN(std::vector<int32_t> ids, ReadOne(body, one, context));
    Truncate(context, &ids);
    std::string text;
    if (echo) {
      text = one.is_string() ? one.get<std::string>()
                             : context.tokenizer->Decode(ids, spec->params.skip_special_tokens);
    }
    spec->prompts.push_back({std::move(ids), std::move(text)});
  }
  return Status::Ok();
}

Result<GenerationSpec> Prepare(const HttpRequest& request, const ApiContext& context) {
  ASSIGN_OR_RETURN(const OrderedJson json, ParseBody(request.body, context.limits.max_json_depth));
  const BodyFields body(json);
  RETURN_IF_ERROR(CheckModel(body, context));
  ReplyHead head;
  RETURN_IF_ERROR(body.ReadBool("echo", &head.echo));
  GenerationSpec spec;
  ASSIGN_OR_RETURN(spec.params, ReadGenerationParams(body, context, head.echo ? 0 : 1));
  ASSIGN_OR_RETURN(spec.data_parallel_rank, ReadDataParallelRank(request, context));
  std::optional<int64_t> logprobs;
  RETURN_IF_ERROR(body.ReadInt("logprobs", 0, kMaxLogprobs, &logprobs));
  if (logprobs) {
    head.wants_logprobs = true;
    head.num_top_logprobs = static_cast<int32_t>(*logprobs);
    spec.params.sampling.num_logprobs = head.num_top_logprobs;
    if (head.echo) spec.params.sampling.num_prompt_logprobs = head.num_top_logprobs;
  }
  head.id = MakeReplyId("cmpl-");
  head.model = context.model_name;
  head.created = UnixTime();
  head.include_usage = spec.params.include_usage;
  head.return_token_ids = spec.params.return_token_ids;

  RETURN_IF_ERROR(ReadPrompts(body, context, head.echo, &spec));
  spec.prompt_param = "prompt";
  spec.x_request_id = ReadRequestId(request, head.id);
  const auto num_choices = static_cast<int32_t>(spec.prompts.size()) * spec.params.n;
  spec.format = MakeCompletionFormat(std::move(head), num_choices, context.tokenizer);
  return spec;
}

}  // namespace

void ServeCompletions(ApiContext& context, HttpRequest request, std::shared_ptr<EventWriter> writer) {
  ServeGeneration(Prepare, context, std::move(request), std::move(writer));
}

}  // namespace phalanx
