// POST /v1/chat/completions.
#include "serve/api/endpoint.h"
#include "serve/api/endpoint_table.h"

namespace phalanx {
namespace {

constexpr int64_t kMaxTopLogprobs = 20;

Status MessageError(size_t index, const char* field, std::string message) {
  const std::string where = "messages[" + std::to_string(index) + "]" + field;
  return InvalidArgument(where + " " + std::move(message)).WithParam(where);
}

// A list of text parts, joined.
Result<std::string> JoinParts(const OrderedJson& parts, size_t index) {
  std::string text;
  for (const OrderedJson& part : parts) {
    if (!part.is_object()) return MessageError(index, ".content", "must be a string or a list of parts");
    const auto type = part.find("type");
    if (type == part.end() || !type->is_string())
      return MessageError(index, ".content", "has a part without a type");
    if (*type != "text") {
      return MessageError(index, ".content",
                          "has a part of type " + type->get<std::string>() + "; this model takes text only");
    }
    const auto piece = part.find("text");
    if (piece == part.end() || !piece->is_string()) {
      return MessageError(index, ".content", "has a text part without text");
    }
    text += piece->get_ref<const std::string&>();
  }
  return text;
}

// The message as the template gets it: everything the client wrote, its content one string or null.
Result<OrderedJson> ReadMessage(const OrderedJson& message, size_t index) {
  if (!message.is_object()) return MessageError(index, "", "must be an object");
  const auto role = message.find("role");
  if (role == message.end() || !role->is_string() || role->get_ref<const std::string&>().empty()) {
    return MessageError(index, ".role", "must be a string, not empty");
  }
  OrderedJson out = message;
  const auto content = message.find("content");
  const bool absent = content == message.end() || content->is_null();
  if (absent && *role != "assistant") return MessageError(index, ".content", "is missing");
  if (absent) {
    out["content"] = "";
  } else if (content->is_array()) {
    ASSIGN_OR_RETURN(std::string text, JoinParts(*content, index));
    out["content"] = std::move(text);
  } else if (!content->is_string()) {
    return MessageError(index, ".content", "must be a string or a list of parts");
  }
  return out;
}

Status ReadInput(const BodyFields& body, ChatInput* input) {
  const OrderedJson* messages = body.Find("messages");
  if (messages == nullptr) return body.Error("messages", "messages is missing");
  if (!messages->is_array()) return body.WrongType("messages", "a list", *messages);
  if (messages->empty()) return body.Error("messages", "messages must not be empty");
  for (size_t i = 0; i < messages->size(); ++i) {
    ASSIGN_OR_RETURN(OrderedJson message, ReadMessage((*messages)[i], i));
    input->messages.push_back(std::move(message));
  }
  ASSIGN_OR_RETURN(const OrderedJson* kwargs, body.ReadObject("chat_template_kwargs"));
  if (kwargs != nullptr) input->kwargs = *kwargs;
  return body.ReadBool("add_generation_prompt", &input->add_generation_prompt);
}

Status ReadLogprobs(const BodyFields& body, ReplyHead* head, SamplingParams* sampling) {
  bool logprobs = false;
  RETURN_IF_ERROR(body.ReadBool("logprobs", &logprobs));
  std::optional<int64_t> top;
  RETURN_IF_ERROR(body.ReadInt("top_logprobs", 0, kMaxTopLogprobs, &top));
  if (top && *top > 0 && body.Has("logprobs") && !logprobs) {
    return body.Error("top_logprobs", "top_logprobs needs logprobs to be true");
  }
  head->wants_logprobs = logprobs || top.value_or(0) > 0;
  head->num_top_logprobs = static_cast<int32_t>(top.value_or(0));
  sampling->num_logprobs = head->wants_logprobs ? head->num_top_logprobs : -1;
  return Status::Ok();
}

Result<GenerationSpec> Prepare(const HttpRequest& request, const ApiContext& context) {
  ASSIGN_OR_RETURN(const OrderedJson json, ParseBody(request.body, context.limits.max_json_depth));
  const BodyFields body(json);
  RETURN_IF_ERROR(CheckModel(body, context));
  if (context.chat_template == nullptr) {
    return InvalidArgument("the model has no chat template: use /v1/completions").WithParam("messages");
  }
  GenerationSpec spec;
  ASSIGN_OR_RETURN(spec.params, ReadGenerationParams(body, context, 1));
  ASSIGN_OR_RETURN(spec.data_parallel_rank, ReadDataParallelRank(request, context));
  ReplyHead head;
  head.id = MakeReplyId("chatcmpl-");
  head.model = context.model_name;
  head.created = UnixTime();
  head.include_usage = spec.params.include_usage;
  head.return_token_ids = spec.params.return_token_ids;
  RETURN_IF_ERROR(ReadLogprobs(body, &head, &spec.params.sampling));

  ChatInput input;
  RETURN_IF_ERROR(ReadInput(body, &input));
  Result<std::vector<int32_t>> token_ids = context.chat_template->EncodeChat(input);
  if (!token_ids.ok()) return InvalidArgument(token_ids.status().message()).WithParam("messages");
  Truncate(context, &*token_ids);
  spec.prompts.push_back({std::move(*token_ids), {}});
  spec.prompt_param = "messages";
  spec.x_request_id = ReadRequestId(request, head.id);
  spec.format = MakeChatFormat(std::move(head), spec.params.n, context.tokenizer);
  return spec;
}

}  // namespace

void ServeChatCompletions(ApiContext& context, HttpRequest request, std::shared_ptr<EventWriter> writer) {
  ServeGeneration(Prepare, context, std::move(request), std::move(writer));
}

}  // namespace phalanx
