#include "plan/worker_messages.h"

#include <limits>
#include <utility>

#include "base/json.h"

// Every struct lists its members once, in Visit; writing and reading are two visitors of that list.
namespace phalanx {
namespace {

constexpr std::pair<MessageKind, std::string_view> kKinds[] = {
    {MessageKind::kInit, "init"},         {MessageKind::kFacts, "facts"},   {MessageKind::kMemory, "memory"},
    {MessageKind::kProgress, "progress"}, {MessageKind::kPacked, "packed"}, {MessageKind::kBuild, "build"},
    {MessageKind::kReady, "ready"},       {MessageKind::kError, "error"},   {MessageKind::kFence, "fence"},
};

std::string_view KindName(MessageKind kind) {
  for (const auto& [value, name] : kKinds) {
    if (value == kind) return name;
  }
  return "";
}

class Writer {
 public:
  template <class T>
  void operator()(const char* key, const T& value) {
    json_[key] = value;
  }
  std::string Finish(MessageKind kind) {
    json_["kind"] = KindName(kind);
    return DumpJson(json_);
  }

 private:
  Json json_ = Json::object();
};

class Reader {
 public:
  explicit Reader(const Json& json) : json_(json) {}

  void operator()(const char* key, std::string& value) { Take(JsonString(json_, key), &value); }
  void operator()(const char* key, int64_t& value) { Take(JsonInt(json_, key), &value); }
  void operator()(const char* key, std::vector<int>& value) { Take(JsonInts(json_, key), &value); }
  void operator()(const char* key, int32_t& value) {
    int64_t wide = 0;
    Take(JsonInt(json_, key), &wide);
    if (wide < std::numeric_limits<int32_t>::min() || wide > std::numeric_limits<int32_t>::max()) {
      Take(Result<int64_t>(InvalidArgument("\"" + std::string(key) + "\" is out of range")), &wide);
    }
    value = static_cast<int32_t>(wide);
  }
  void operator()(const char* key, size_t& value) {
    int64_t wide = 0;
    Take(JsonInt(json_, key), &wide);
    if (wide < 0) Take(Result<int64_t>(InvalidArgument("\"" + std::string(key) + "\" is negative")), &wide);
    value = static_cast<size_t>(wide);
  }

  const Status& status() const { return status_; }

 private:
  template <class T>
  void Take(Result<T> result, T* value) {
    if (result.ok()) {
      *value = *std::move(result);
    } else if (status_.ok()) {
      status_ = result.status();
    }
  }

  const Json& json_;
  Status status_;
};

template <class V, class T>
void Visit(V& visit, T& init)
  requires std::is_same_v<std::remove_const_t<T>, WorkerInit>
{
  visit("rank", init.rank);
  visit("tp", init.tp);
  visit("dp", init.dp);
  visit("domain", init.domain);
  visit("rank_in_domain", init.rank_in_domain);
  visit("group_rank", init.group_rank);
  visit("model_path", init.model_path);
  visit("kernel_table", init.kernel_table);
  visit("kv_format", init.kv_format);
  visit("block_size", init.block_size);
  visit("cpus", init.cpus);
  visit("pack_index", init.pack_index);
  visit("pack_count", init.pack_count);
  visit("exchange_timeout_ms", init.exchange_timeout_ms);
  visit("log_level", init.log_level);
  visit("num_domains", init.channel.num_domains);
  visit("ranks_per_domain", init.channel.ranks_per_domain);
  visit("plan_bytes", init.channel.plan_bytes);
  visit("result_bytes", init.channel.result_bytes);
}

template <class V, class T>
void Visit(V& visit, T& facts)
  requires std::is_same_v<std::remove_const_t<T>, ModelFacts>
{
  visit("architecture", facts.architecture);
  visit("dtype", facts.dtype);
  visit("kernel_table", facts.kernel_table);
  visit("vocab_size", facts.vocab_size);
  visit("max_model_len", facts.max_model_len);
  visit("num_layers", facts.num_layers);
  visit("packed_bytes", facts.packed_bytes);
  visit("num_pack_tasks", facts.num_pack_tasks);
  visit("kv_block_bytes", facts.kv_block_bytes);
  visit("exchange_bytes", facts.exchange_bytes);
}

template <class V, class T>
void Visit(V& visit, T& memory)
  requires std::is_same_v<std::remove_const_t<T>, WorkerMemory>
{
  visit("num_blocks", memory.num_blocks);
  visit("plane_offset", memory.plane_offset);
  visit("first_own_block", memory.first_own_block);
}

template <class V, class T>
void Visit(V& visit, T& progress)
  requires std::is_same_v<std::remove_const_t<T>, PackProgress>
{
  visit("tasks_done", progress.tasks_done);
}

template <class V, class T>
void Visit(V& visit, T& ready)
  requires std::is_same_v<std::remove_const_t<T>, WorkerReady>
{
  visit("rank", ready.rank);
  visit("pid", ready.pid);
  visit("cpus", ready.cpus);
  visit("num_threads", ready.num_threads);
  visit("weight_pages", ready.weight_pages);
  visit("huge_bytes", ready.huge_bytes);
}

template <class T>
std::string Write(MessageKind kind, const T& value) {
  Writer writer;
  Visit(writer, value);
  return writer.Finish(kind);
}

// The message's JSON if it is of this kind.
Result<Json> ParseKind(std::string_view text, MessageKind kind) {
  ASSIGN_OR_RETURN(const MessageKind found, KindOfMessage(text));
  if (found != kind) {
    return InvalidArgument("expected a message of kind " + std::string(KindName(kind)) + ", found " +
                           std::string(KindName(found)));
  }
  return ParseJson(text, 8);
}

template <class T>
Status Read(std::string_view text, MessageKind kind, T* value) {
  ASSIGN_OR_RETURN(const Json json, ParseKind(text, kind));
  Reader reader(json);
  Visit(reader, *value);
  return reader.status();
}

}  // namespace

std::string ToMessage(const WorkerInit& init) {
  return Write(MessageKind::kInit, init);
}
std::string ToMessage(const ModelFacts& facts) {
  return Write(MessageKind::kFacts, facts);
}
std::string ToMessage(const WorkerMemory& memory) {
  return Write(MessageKind::kMemory, memory);
}
std::string ToMessage(const PackProgress& progress) {
  return Write(MessageKind::kProgress, progress);
}
std::string ToMessage(const WorkerReady& ready) {
  return Write(MessageKind::kReady, ready);
}
std::string ToMessage(MessageKind kind) {
  return Writer().Finish(kind);
}

std::string ToMessage(const WorkerError& error) {
  Writer writer;
  writer("code", static_cast<int>(error.status.code()));
  writer("message", error.status.message());
  return writer.Finish(MessageKind::kError);
}

Result<MessageKind> KindOfMessage(std::string_view text) {
  ASSIGN_OR_RETURN(const Json json, ParseJson(text, 8));
  ASSIGN_OR_RETURN(const std::string kind, JsonString(json, "kind"));
  for (const auto& [value, name] : kKinds) {
    if (name == kind) return value;
  }
  return InvalidArgument("unknown kind of message: " + kind);
}

Status FromMessage(std::string_view text, WorkerInit* init) {
  return Read(text, MessageKind::kInit, init);
}
Status FromMessage(std::string_view text, ModelFacts* facts) {
  return Read(text, MessageKind::kFacts, facts);
}
Status FromMessage(std::string_view text, WorkerMemory* memory) {
  return Read(text, MessageKind::kMemory, memory);
}
Status FromMessage(std::string_view text, PackProgress* progress) {
  return Read(text, MessageKind::kProgress, progress);
}
Status FromMessage(std::string_view text, WorkerReady* ready) {
  return Read(text, MessageKind::kReady, ready);
}

Status FromMessage(std::string_view text, WorkerError* error) {
  ASSIGN_OR_RETURN(const Json json, ParseKind(text, MessageKind::kError));
  ASSIGN_OR_RETURN(const int64_t code, JsonInt(json, "code"));
  ASSIGN_OR_RETURN(std::string message, JsonString(json, "message"));
  if (code <= static_cast<int>(StatusCode::kOk) || code > static_cast<int>(StatusCode::kInternal)) {
    return InvalidArgument("\"code\" is no error code");
  }
  error->status = Status(static_cast<StatusCode>(code), std::move(message));
  return Status::Ok();
}

}  // namespace phalanx
