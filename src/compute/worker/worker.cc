#include "compute/worker/worker.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <set>

#include "base/log.h"
#include "base/topology.h"
#include "compute/layers/tensor_parallel.h"
#include "compute/worker/control_watch.h"
#include "compute/worker/weight_packing.h"
#include "parallel/comm/shm/shm_communicator.h"
#include "parallel/comm/transport_table.h"

namespace phalanx {
namespace {

Result<KvFormat> ParseKvFormat(const std::string& name, const ModelConfig& config) {
  if (name == "f32") return KvFormat::kF32;
  if (name == "f16") return KvFormat::kF16;
  if (name != "auto")
    return InvalidArgument("type of keys and values must be auto, f32 or f16, found " + name);
  const bool full = config.dtype == "float32" || config.dtype == "F32";
  return full ? KvFormat::kF32 : KvFormat::kF16;
}

std::string_view PagesName(HugePages pages) {
  switch (pages) {
    case HugePages::kReserved:
      return "reserved huge";
    case HugePages::kTransparent:
      return "transparent huge";
    case HugePages::kNone:
      break;
  }
  return "ordinary";
}

// Every descriptor that came, as a segment.
Result<std::vector<SharedMemory>> AdoptAll(MessageSocket::Message* message, size_t expected) {
  if (message->fds.size() < expected) {
    return Internal("expected " + std::to_string(expected) + " shared segments, found " +
                    std::to_string(message->fds.size()));
  }
  std::vector<SharedMemory> segments;
  for (UniqueFd& fd : message->fds) {
    ASSIGN_OR_RETURN(SharedMemory segment, SharedMemory::Adopt(std::move(fd)));
    segments.push_back(std::move(segment));
  }
  return segments;
}

}  // namespace

Worker::Worker(MessageSocket control) : control_(std::move(control)) {}
Worker::~Worker() = default;

Status Worker::Start() {
  Status status;
  try {
    status = StartSteps();
  } catch (const std::exception& error) {
    status = Internal(std::string("the start failed: ") + error.what());
  }
  if (!status.ok()) {
    // The daemon may be gone; then nobody wants to hear it.
    [[maybe_unused]] const Status sent = control_.Send(ToMessage(WorkerError{status}));
  }
  return status;
}

Status Worker::StartSteps() {
  RETURN_IF_ERROR(ReceiveInit());
  RETURN_IF_ERROR(OpenModel());
  RETURN_IF_ERROR(MapMemory());
  RETURN_IF_ERROR(Pack());
  RETURN_IF_ERROR(Build());
  return ReportReady();
}

Result<MessageSocket::Message> Worker::Expect(MessageKind kind) {
  ASSIGN_OR_RETURN(MessageSocket::Message message, control_.Receive());
  ASSIGN_OR_RETURN(const MessageKind found, KindOfMessage(message.text));
  if (found != kind) return Internal("unexpected message from the daemon: " + message.text);
  return message;
}

Status Worker::ReceiveInit() {
  ASSIGN_OR_RETURN(MessageSocket::Message message, Expect(MessageKind::kInit));
  RETURN_IF_ERROR(FromMessage(message.text, &init_));
  InitLog("rank " + std::to_string(init_.rank), ParseLogLevel(init_.log_level));
  ASSIGN_OR_RETURN(const std::vector<SharedMemory> segments, AdoptAll(&message, 1));
  ASSIGN_OR_RETURN(StepChannelRank channel,
                   StepChannelRank::Attach(segments[0], init_.channel, init_.domain, init_.rank_in_domain));
  channel_ = std::make_unique<StepChannelRank>(std::move(channel));
  return Status::Ok();
}

Status Worker::OpenModel() {
  ASSIGN_OR_RETURN(kernels_, SelectKernels(init_.kernel_table));
  ASSIGN_OR_RETURN(store_, WeightStore::Open(init_.model_path));
  const ModelConfig& config = store_->config();
  RETURN_IF_ERROR(CheckTensorParallel(config, init_.tp));

  const TensorParallelShard shard = ShardOf(config, init_.tp, init_.group_rank);
  kv_shape_.num_layers = config.num_layers;
  kv_shape_.num_kv_heads = static_cast<int32_t>(shard.kv_heads.size());
  kv_shape_.head_dim = config.head_dim;
  kv_shape_.block_size = init_.block_size;
  ASSIGN_OR_RETURN(kv_shape_.format, ParseKvFormat(init_.kv_format, config));
  vocab_size_ = static_cast<int32_t>(config.token_count > 0 ? std::min(config.token_count, config.vocab_size)
                                                            : config.vocab_size);

  ModelFacts facts;
  facts.architecture = config.architecture;
  facts.dtype = config.dtype;
  facts.kernel_table = std::string(kernels_->name);
  facts.vocab_size = vocab_size_;
  facts.max_model_len = config.max_position;
  facts.num_layers = config.num_layers;
  facts.packed_bytes = static_cast<int64_t>(store_->packed_bytes());
  facts.num_pack_tasks = store_->num_tasks();
  facts.kv_block_bytes = static_cast<int64_t>(kv_shape_.block_bytes());
  facts.exchange_bytes = static_cast<int64_t>(TransportFor(init_.tp).group_bytes(init_.tp));
  return control_.Send(ToMessage(facts));
}

Status Worker::MapMemory() {
  ASSIGN_OR_RETURN(MessageSocket::Message message, Expect(MessageKind::kMemory));
  RETURN_IF_ERROR(FromMessage(message.text, &memory_));
  const size_t exchange_bytes = TransportFor(init_.tp).group_bytes(init_.tp);
  ASSIGN_OR_RETURN(const std::vector<SharedMemory> segments, AdoptAll(&message, exchange_bytes > 0 ? 3 : 2));
  ASSIGN_OR_RETURN(weights_, SharedMapping::Map(segments[0], 0, store_->packed_bytes(), true,
                                                SharedMapping::Pages::kHuge));
  const size_t plane_bytes = kv_shape_.block_bytes() * static_cast<size_t>(memory_.num_blocks);
  ASSIGN_OR_RETURN(
      plane_, SharedMapping::Map(segments[1], static_cast<size_t>(memory_.plane_offset), plane_bytes, true));
  if (exchange_bytes > 0) {
    ASSIGN_OR_RETURN(exchange_, SharedMapping::Map(segments[2], 0, exchange_bytes, true));
    // The others join only after all have packed, and so after this.
    if (init_.group_rank == 0) TransportFor(init_.tp).init_group(exchange_.bytes(), init_.tp);
  }
  return Status::Ok();
}

Status Worker::Pack() {
  threads_ = std::make_unique<ThreadTeam>(init_.cpus.empty() ? std::vector<int>{-1} : init_.cpus);
  const PackShare share{init_.pack_index, init_.pack_count};
  RETURN_IF_ERROR(PackWeights(*store_, share, weights_.data(), threads_.get(), [this](int tasks_done) {
    [[maybe_unused]] const Status sent = control_.Send(ToMessage(PackProgress{tasks_done}));
  }));
  return control_.Send(ToMessage(MessageKind::kPacked));
}

Status Worker::Build() {
  RETURN_IF_ERROR(Expect(MessageKind::kBuild).status());
  RETURN_IF_ERROR(weights_.ProtectReadOnly());
#ifdef MADV_POPULATE_READ
  // Page tables of what other ranks packed, at once instead of in the first steps. Older kernels refuse: no
  // harm.
  ::madvise(weights_.data(), weights_.size(), MADV_POPULATE_READ);
#endif
  ExchangeOptions exchange;
  exchange.timeout = std::chrono::milliseconds(init_.exchange_timeout_ms);
  ASSIGN_OR_RETURN(attn_tp_, TransportFor(init_.tp).join(exchange_.bytes(), init_.group_rank, exchange));
  cache_ = std::make_unique<KvCache>(kv_shape_, memory_.num_blocks, plane_.data());
  ASSIGN_OR_RETURN(
      model_, BuildModel(*store_, {kernels_, threads_.get(), attn_tp_.get(), weights_.data(), cache_.get()}));

  StepRunner::Options options;
  options.block_size = init_.block_size;
  options.num_blocks = memory_.num_blocks;
  options.vocab_size = vocab_size_;
  options.num_logits = store_->config().vocab_size;
  runner_ = std::make_unique<StepRunner>(options, kernels_, threads_.get(), model_.get());
  return runner_->WarmUp(static_cast<int32_t>(memory_.first_own_block));
}

Status Worker::ReportReady() {
  WorkerReady ready;
  ready.rank = init_.rank;
  ready.pid = static_cast<int32_t>(::getpid());
  ready.num_threads = threads_->size();
  std::mutex mutex;
  std::set<int> cpus;
  threads_->Run([&](int) {
    const std::vector<int> own = AffinityOfThisThread();
    const std::lock_guard lock(mutex);
    cpus.insert(own.begin(), own.end());
  });
  ready.cpus.assign(cpus.begin(), cpus.end());
  ready.weight_pages = PagesName(weights_.huge_pages());
  ready.huge_bytes = static_cast<int64_t>(weights_.HugeBytes());
  return control_.Send(ToMessage(ready));
}

Status Worker::Serve() {
  const auto on_fence = [this] {
    fenced_ = true;
    if (exchange_.size() > 0) FenceExchange(exchange_.bytes());
  };
  // The parent's end kills us anyway (PR_SET_PDEATHSIG); this covers a parent that closed the socket and
  // lives.
  const auto on_closed = [] { ::_exit(0); };
  ASSIGN_OR_RETURN(const auto watch, ControlWatch::Start(&control_, on_fence, on_closed));

  const bool leader = init_.rank_in_domain == 0;
  StepPlan plan;
  StepResult result;
  while (true) {
    ASSIGN_OR_RETURN(const StepChannelRank::Next next, channel_->WaitForPlan(&plan));
    if (next == StepChannelRank::Next::kFenced) return Status::Ok();
    if (next == StepChannelRank::Next::kTimeout) continue;
    const SteadyTime start = std::chrono::steady_clock::now();
    RunStep(plan, &result);
    const double seconds = SecondsBetween(start, std::chrono::steady_clock::now());
    channel_->Finish(result.status, leader ? &result : nullptr, seconds);
  }
}

void Worker::RunStep(const StepPlan& plan, StepResult* result) {
  result->step_id = plan.step_id;
  result->domain = plan.domain;
  result->status = Status::Ok();
  // A domain of a dense model is one group.
  if (plan.batches.size() != 1) {
    result->status = Internal("expected the plan of one group, found " + std::to_string(plan.batches.size()));
    return;
  }
  try {
    result->status = runner_->Run(plan.batches[0], result);
  } catch (const std::exception& error) {
    result->status = Internal(std::string("the step failed: ") + error.what());
  }
  if (result->status.ok()) return;
  // After a fence the daemon knows better than we why.
  Log(fenced_ ? LogLevel::kDebug : LogLevel::kError, "step {} failed: {}", plan.step_id,
      result->status.ToString());
}

int RunWorker(int control_fd) {
  // The daemon decides when a worker ends; a terminal's Ctrl-C or a service manager's signal reaches us all.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) ::signal(signal, SIG_IGN);
  Worker worker{MessageSocket(UniqueFd(control_fd))};
  if (!worker.Start().ok()) return 1;
  const Status status = worker.Serve();
  if (status.ok()) return 0;
  LogError("{}", status.ToString());
  return 2;
}

}  // namespace phalanx
