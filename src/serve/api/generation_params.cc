#include "serve/api/generation_params.h"

#include <algorithm>
#include <cfloat>
#include <climits>
#include <random>

namespace phalanx {
namespace {

constexpr size_t kMaxStopLength = 32768;  // UTF-16 units: of a single string, and of all in a list
constexpr size_t kMaxStopItemLength = 1024;
constexpr int64_t kMaxChoices = 8192;
constexpr int32_t kMaxTopK = 1000;

uint64_t DrawSeed() {
  thread_local std::mt19937_64 generator{(uint64_t{std::random_device()()} << 32) ^ std::random_device()()};
  return generator() >> 1;
}

float Either(const std::optional<double>& given, const std::optional<float>& model, float otherwise) {
  return given ? static_cast<float>(*given) : model.value_or(otherwise);
}

// Fields that change what the answer means and that we do not offer: refused, never ignored.
Status RefuseUnsupported(const BodyFields& body) {
  const auto refuse = [](const char* name) {
    return Unimplemented(std::string(name) + " is not supported yet").WithParam(name);
  };
  for (const char* name : {"logit_bias", "tools", "functions"}) {
    const OrderedJson* field = body.Find(name);
    if (field != nullptr && !((field->is_object() || field->is_array()) && field->empty()))
      return refuse(name);
  }
  if (const OrderedJson* suffix = body.Find("suffix"); suffix != nullptr && *suffix != "")
    return refuse("suffix");
  if (body.Has("chat_template")) return refuse("chat_template");
  bool beam = false;
  RETURN_IF_ERROR(body.ReadBool("use_beam_search", &beam));
  if (beam) return refuse("use_beam_search");
  ASSIGN_OR_RETURN(const OrderedJson* format, body.ReadObject("response_format"));
  if (format == nullptr) return Status::Ok();
  std::optional<std::string> type;
  RETURN_IF_ERROR(BodyFields(*format, "response_format.").ReadString("type", &type));
  if (!type) return body.Error("response_format", "response_format needs a type");
  if (*type == "text") return Status::Ok();
  if (*type == "json_object" || *type == "json_schema") {
    return Unimplemented("response_format " + *type + " is not supported yet").WithParam("response_format");
  }
  return body.Error("response_format",
                    "response_format.type must be text, json_object or json_schema, got " + *type);
}

Status ReadStop(const BodyFields& body, std::vector<std::string>* stop) {
  const OrderedJson* field = body.Find("stop");
  if (field == nullptr) return Status::Ok();
  if (field->is_string()) {
    const size_t length = Utf16Length(field->get_ref<const std::string&>());
    if (length < 1 || length > kMaxStopLength) {
      return body.Error("stop", "stop must have 1 to " + std::to_string(kMaxStopLength) +
                                    " characters, got " + std::to_string(length));
    }
    stop->push_back(field->get<std::string>());
    return Status::Ok();
  }
  if (!field->is_array()) return body.WrongType("stop", "a string or a list of strings", *field);
  size_t total = 0;
  for (const OrderedJson& item : *field) {
    if (!item.is_string()) return body.WrongType("stop", "a string or a list of strings", item);
    const size_t length = Utf16Length(item.get_ref<const std::string&>());
    total += length;
    if (length < 1 || length > kMaxStopItemLength || total > kMaxStopLength) {
      return body.Error("stop", "each item of stop must have 1 to " + std::to_string(kMaxStopItemLength) +
                                    " characters, all together at most " + std::to_string(kMaxStopLength));
    }
    stop->push_back(item.get<std::string>());
  }
  return Status::Ok();
}

Status ReadStopTokenIds(const BodyFields& body, std::vector<int32_t>* ids) {
  const OrderedJson* field = body.Find("stop_token_ids");
  if (field == nullptr) return Status::Ok();
  if (!field->is_array()) return body.WrongType("stop_token_ids", "a list of integers", *field);
  for (const OrderedJson& item : *field) {
    if (!item.is_number_integer()) return body.WrongType("stop_token_ids", "a list of integers", item);
    if (item.is_number_unsigned() && item.get<uint64_t>() > INT_MAX) continue;
    const int64_t id = item.get<int64_t>();
    if (id >= 0 && id <= INT_MAX) ids->push_back(static_cast<int32_t>(id));
  }
  std::sort(ids->begin(), ids->end());
  ids->erase(std::unique(ids->begin(), ids->end()), ids->end());
  return Status::Ok();
}

// n and best_of; best_of may only repeat n.
Status ReadChoices(const BodyFields& body, const ApiContext& context, int32_t* n) {
  std::optional<int64_t> given, best_of;
  RETURN_IF_ERROR(body.ReadInt("n", 1, kMaxChoices, &given));
  RETURN_IF_ERROR(body.ReadInt("best_of", 1, 128, &best_of));
  if (best_of && *best_of != given.value_or(1)) {
    return Unimplemented("best_of other than n is not supported").WithParam("best_of");
  }
  if (context.engine != nullptr) {
    const EngineOptions& options = context.engine->options();
    const int64_t most =
        std::min({options.max_batch_size, options.max_prefill_batch_size, context.limits.max_n});
    if (given.value_or(1) > most) {
      return body.Error("n", "n must be at most " + std::to_string(most) + " on this server, got " +
                                 std::to_string(*given));
    }
  }
  *n = static_cast<int32_t>(given.value_or(1));
  return Status::Ok();
}

Status ReadSampling(const BodyFields& body, const GenerationDefaults& defaults, int32_t n,
                    SamplingParams* sampling) {
  std::optional<double> temperature, top_p, min_p, repetition, presence, frequency;
  std::optional<int64_t> top_k, seed;
  RETURN_IF_ERROR(body.ReadNumber("temperature", 0, FLT_MAX, &temperature));
  RETURN_IF_ERROR(body.ReadNumber("top_p", 0, 1, &top_p));
  RETURN_IF_ERROR(body.ReadNumber("min_p", 0, 1, &min_p));
  RETURN_IF_ERROR(body.ReadNumber("repetition_penalty", 0, 2, &repetition));
  RETURN_IF_ERROR(body.ReadNumber("presence_penalty", -2, 2, &presence));
  RETURN_IF_ERROR(body.ReadNumber("frequency_penalty", -2, 2, &frequency));
  RETURN_IF_ERROR(body.ReadInt("top_k", -1, INT_MAX, &top_k));
  RETURN_IF_ERROR(body.ReadInt("seed", 0, INT64_MAX, &seed));
  if (top_p && static_cast<float>(*top_p) <= 0) return body.Error("top_p", "top_p must be in (0, 1]");
  if (repetition && static_cast<float>(*repetition) <= 0) {
    return body.Error("repetition_penalty", "repetition_penalty must be in (0, 2]");
  }

  // Sampling is on if the client gave one of its parameters, or by the model's word, or where several choices are wanted.
  const bool samples = temperature || top_p || top_k || min_p || n > 1 || defaults.do_sample.value_or(false);
  sampling->temperature = samples ? Either(temperature, defaults.temperature, 1.0f) : 0.0f;
  if (n > 1 && sampling->temperature == 0) {
    return body.Error("n", "n must be 1 where temperature is 0: all choices would be equal");
  }
  sampling->top_p = Either(top_p, defaults.top_p, 1.0f);
  sampling->min_p = Either(min_p, std::nullopt, 0.0f);
  sampling->repetition_penalty = Either(repetition, defaults.repetition_penalty, 1.0f);
  sampling->presence_penalty = Either(presence, defaults.presence_penalty, 0.0f);
  sampling->frequency_penalty = Either(frequency, defaults.frequency_penalty, 0.0f);
  const int64_t wanted_top_k = std::max<int64_t>(0, top_k.value_or(defaults.top_k.value_or(0)));
  const int32_t most = defaults.top_k.value_or(0) > 0 ? *defaults.top_k : kMaxTopK;
  sampling->top_k = static_cast<int32_t>(std::min<int64_t>(wanted_top_k, most));
  sampling->seed = seed ? static_cast<uint64_t>(*seed) : DrawSeed();
  return Status::Ok();
}

Status ReadMaxTokens(const BodyFields& body, const ApiContext& context, int64_t min, int32_t* max_tokens) {
  std::optional<int64_t> value;
  RETURN_IF_ERROR(body.ReadInt("max_tokens", min, INT_MAX, &value));
  RETURN_IF_ERROR(body.ReadInt("max_completion_tokens", min, INT_MAX, &value));
  const int64_t most = context.engine == nullptr ? INT_MAX : context.engine->options().max_output_tokens;
  *max_tokens = static_cast<int32_t>(std::min(value.value_or(most), most));
  return Status::Ok();
}

}  // namespace

Status CheckModel(const BodyFields& body, const ApiContext& context) {
  std::optional<std::string> model;
  RETURN_IF_ERROR(body.ReadString("model", &model));
  if (!model) return body.Error("model", "model is missing");
  if (*model == context.model_name) return Status::Ok();
  return NotFound("The model `" + *model + "` does not exist; this server has `" + context.model_name + "`")
      .WithParam("model");
}

Result<GenerationParams> ReadGenerationParams(const BodyFields& body, const ApiContext& context,
                                              int64_t min_max_tokens) {
  RETURN_IF_ERROR(RefuseUnsupported(body));
  GenerationParams params;
  RETURN_IF_ERROR(ReadChoices(body, context, &params.n));
  RETURN_IF_ERROR(ReadSampling(body, context.defaults, params.n, &params.sampling));
  RETURN_IF_ERROR(ReadMaxTokens(body, context, min_max_tokens, &params.max_tokens));
  RETURN_IF_ERROR(ReadStop(body, &params.stop));
  RETURN_IF_ERROR(ReadStopTokenIds(body, &params.client_stop_token_ids));
  RETURN_IF_ERROR(body.ReadBool("include_stop_str_in_output", &params.include_stop_str_in_output));
  RETURN_IF_ERROR(body.ReadBool("skip_special_tokens", &params.skip_special_tokens));
  RETURN_IF_ERROR(body.ReadBool("return_token_ids", &params.return_token_ids));
  RETURN_IF_ERROR(body.ReadBool("stream", &params.stream));
  ASSIGN_OR_RETURN(const OrderedJson* stream_options, body.ReadObject("stream_options"));
  if (stream_options != nullptr) {
    if (!params.stream) return body.Error("stream_options", "stream_options needs stream to be true");
    RETURN_IF_ERROR(
        BodyFields(*stream_options, "stream_options.").ReadBool("include_usage", &params.include_usage));
  }
  bool ignore_eos = false;
  RETURN_IF_ERROR(body.ReadBool("ignore_eos", &ignore_eos));
  params.sampling.stop_token_ids = params.client_stop_token_ids;
  if (!ignore_eos) {
    for (const int32_t id : context.tokenizer->stop_ids()) params.sampling.stop_token_ids.push_back(id);
  }
  return params;
}

}  // namespace phalanx
