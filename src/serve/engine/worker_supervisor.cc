#include "serve/engine/worker_supervisor.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "plan/cache_capacity.h"

namespace phalanx {
namespace {

// How soon a start notices that it is cancelled.
constexpr int64_t kCancelPollMs = 100;

std::string DefaultWorkerProgram() {
  const Result<std::string> own = OwnProgramPath();
  if (!own.ok()) return "phalanx-worker";
  return own->substr(0, own->rfind('/') + 1) + "phalanx-worker";
}

}  // namespace

Result<std::unique_ptr<WorkerSupervisor>> WorkerSupervisor::Start(const ProcessExecutorOptions& options) {
  CHECK(options.dp > 0 && options.tp > 0 && options.block_size > 0);
  std::unique_ptr<WorkerSupervisor> supervisor(new WorkerSupervisor(options));
  supervisor->event_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!supervisor->event_.ok()) return ErrnoStatus("eventfd");
  std::promise<Status> started;
  std::future<Status> status = started.get_future();
  supervisor->thread_ =
      std::thread([own = supervisor.get(), promise = std::move(started)]() mutable { own->Main(&promise); });
  RETURN_IF_ERROR(status.get());
  return supervisor;
}

WorkerSupervisor::WorkerSupervisor(const ProcessExecutorOptions& options)
    : options_(options),
      start_deadline_(std::chrono::steady_clock::now() + options.start_timeout),
      failures_(static_cast<size_t>(options.dp)) {}

WorkerSupervisor::~WorkerSupervisor() {
  Shutdown();
}

void WorkerSupervisor::Shutdown() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ::eventfd_write(event_.get(), 1);
  if (thread_.joinable()) thread_.join();
}

void WorkerSupervisor::Main(std::promise<Status>* started) {
  const Status status = StartWorkers();
  if (!status.ok()) {
    // Whoever cannot go on without the others need not be asked to end.
    workers_.clear();
    started->set_value(status);
    return;
  }
  MakeReport();
  started->set_value(Status::Ok());
  Watch();
  EndAll();
}

Status WorkerSupervisor::StartWorkers() {
  ASSIGN_OR_RETURN(machine_, ReadTopology());
  StepChannelShape shape;
  shape.num_domains = options_.dp;
  shape.ranks_per_domain = options_.tp;
  ASSIGN_OR_RETURN(StepChannelHost channel, StepChannelHost::Create(shape));
  channel_ = std::move(channel);
  RETURN_IF_ERROR(SpawnAll());
  RETURN_IF_ERROR(WaitForAll(MessageKind::kFacts));
  RETURN_IF_ERROR(CheckFacts());
  RETURN_IF_ERROR(SizeCache());
  RETURN_IF_ERROR(SendMemory());
  RETURN_IF_ERROR(WaitForAll(MessageKind::kPacked));
  for (WorkerProcess& worker : workers_) RETURN_IF_ERROR(worker.Send(MessageKind::kBuild));
  return WaitForAll(MessageKind::kReady);
}

Status WorkerSupervisor::SpawnAll() {
  const int num_ranks = options_.dp * options_.tp;
  const std::string program =
      options_.worker_program.empty() ? DefaultWorkerProgram() : options_.worker_program;
  placements_ = AssignCores(machine_, num_ranks, options_.threads_per_rank);
  for (const RankPlacement& placement : placements_) nodes_.push_back(placement.numa_node);
  std::sort(nodes_.begin(), nodes_.end());
  nodes_.erase(std::unique(nodes_.begin(), nodes_.end()), nodes_.end());

  for (int rank = 0; rank < num_ranks; ++rank) {
    const RankPlacement& placement = placements_[static_cast<size_t>(rank)];
    const auto on_same_node = [&](const RankPlacement& other) {
      return other.numa_node == placement.numa_node;
    };
    WorkerInit init;
    init.rank = rank;
    init.tp = options_.tp;
    init.dp = options_.dp;
    init.domain = DomainOf(rank);
    init.rank_in_domain = init.group_rank = rank % options_.tp;
    init.model_path = options_.model_path;
    init.kernel_table = options_.kernel_table;
    init.kv_format = options_.kv_format;
    init.block_size = options_.block_size;
    init.cpus = placement.cpus;
    init.pack_index =
        static_cast<int32_t>(std::count_if(placements_.begin(), placements_.begin() + rank, on_same_node));
    init.pack_count =
        static_cast<int32_t>(std::count_if(placements_.begin(), placements_.end(), on_same_node));
    // Whoever waits for a hung rank gives up first, so that the step's deadline finds the hung one alone.
    init.exchange_timeout_ms = options_.step_timeout.count() / 2;
    init.log_level = options_.log_level;
    init.channel = channel_->shape();
    ASSIGN_OR_RETURN(WorkerProcess worker, WorkerProcess::Spawn(program, init, channel_->memory()));
    names_.push_back(worker.Name());
    workers_.push_back(std::move(worker));
  }
  return Status::Ok();
}

Status WorkerSupervisor::WaitForAll(MessageKind stage) {
  while (true) {
    std::vector<pollfd> entries;
    for (WorkerProcess& worker : workers_) {
      if (worker.stage() != stage) entries.push_back({worker.control_fd(), POLLIN, 0});
    }
    if (entries.empty()) return Status::Ok();
    // Those who are waiting for the others can still die.
    for (WorkerProcess& worker : workers_) {
      if (worker.stage() == stage) entries.push_back({worker.pidfd(), POLLIN, 0});
    }
    const auto left = start_deadline_ - std::chrono::steady_clock::now();
    const auto left_ms =
        std::clamp<int64_t>(std::chrono::ceil<std::chrono::milliseconds>(left).count(), 0, kCancelPollMs);
    if (::poll(entries.data(), entries.size(), static_cast<int>(left_ms)) < 0 && errno != EINTR)
      return ErrnoStatus("poll");
    if (options_.cancelled && options_.cancelled()) return Cancelled("the start was cancelled");
    for (WorkerProcess& worker : workers_) {
      Result<bool> took = worker.TakeMessage();
      while (took.ok() && *took) took = worker.TakeMessage();
      RETURN_IF_ERROR(took.status());
    }
    ReportProgress();
    const bool done =
        std::all_of(workers_.begin(), workers_.end(), [&](auto& worker) { return worker.stage() == stage; });
    if (!done && std::chrono::steady_clock::now() >= start_deadline_) {
      for (WorkerProcess& worker : workers_) {
        if (worker.stage() == stage) continue;
        return DeadlineExceeded(worker.Name() + " was not ready within " +
                                std::to_string(options_.start_timeout.count()) + " s");
      }
    }
  }
}

void WorkerSupervisor::ReportProgress() const {
  if (!options_.progress || workers_.empty()) return;
  LoadProgress progress;
  progress.num_tasks = workers_[0].facts().num_pack_tasks * static_cast<int>(nodes_.size());
  if (progress.num_tasks == 0) return;
  for (const WorkerProcess& worker : workers_) progress.tasks_done += worker.tasks_done();
  options_.progress(progress);
}

Status WorkerSupervisor::CheckFacts() const {
  const ModelFacts& first = workers_[0].facts();
  for (const WorkerProcess& worker : workers_) {
    const ModelFacts& facts = worker.facts();
    if (facts.packed_bytes != first.packed_bytes || facts.num_pack_tasks != first.num_pack_tasks ||
        facts.vocab_size != first.vocab_size || facts.num_layers != first.num_layers) {
      return Internal(worker.Name() + " read another model than " + workers_[0].Name() + " at " +
                      options_.model_path);
    }
  }
  return Status::Ok();
}

Status WorkerSupervisor::SizeCache() {
  const ModelFacts& model = workers_[0].facts();
  int64_t block_bytes = 1;
  for (const WorkerProcess& worker : workers_)
    block_bytes = std::max(block_bytes, worker.facts().kv_block_bytes);

  CacheCapacityInput input;
  input.block_bytes = block_bytes;
  input.block_size = options_.block_size;
  input.num_ranks = static_cast<int32_t>(workers_.size());
  input.dp = options_.dp;
  input.kv_bytes_per_rank = options_.kv_bytes_per_rank;
  input.available_bytes = machine_.available_memory_bytes;
  input.memory_fraction = options_.memory_fraction;
  input.weight_bytes = model.packed_bytes * static_cast<int64_t>(nodes_.size());
  input.max_batch_size = options_.max_batch_size;
  input.max_seq_len = std::min(options_.max_seq_len, model.max_model_len);
  ASSIGN_OR_RETURN(const CacheCapacity capacity, ComputeCacheCapacity(input));
  if (capacity.exceeds_memory) {
    report_.warnings.push_back(
        "npuMemSize asks for more memory than is available now; it is only taken as it is used");
  }
  facts_.num_groups = facts_.num_domains = options_.dp;
  facts_.vocab_size = model.vocab_size;
  facts_.max_model_len = model.max_model_len;
  facts_.block_size = options_.block_size;
  facts_.blocks_per_group = capacity.blocks_per_group;
  facts_.num_blocks = capacity.blocks_per_group * options_.dp;
  report_.kv_block_bytes = block_bytes;
  return Status::Ok();
}

// The descriptors may go when the workers have theirs: the segments live as long as they are mapped. So when
// all workers are gone, so is the memory.
Status WorkerSupervisor::SendMemory() {
  const ModelFacts& model = workers_[0].facts();
  std::vector<SharedMemory> weights;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    ASSIGN_OR_RETURN(SharedMemory segment,
                     SharedMemory::Create("phalanx-weights", static_cast<size_t>(model.packed_bytes), true));
    weights.push_back(std::move(segment));
  }
  const size_t plane_bytes = RoundUp(
      static_cast<size_t>(report_.kv_block_bytes) * static_cast<size_t>(facts_.num_blocks), kHugePageBytes);
  ASSIGN_OR_RETURN(const SharedMemory pool,
                   SharedMemory::Create("phalanx-kv", plane_bytes * static_cast<size_t>(options_.tp)));
  std::optional<SharedMemory> exchange;
  for (WorkerProcess& worker : workers_) {
    const WorkerInit& init = worker.init();
    if (init.group_rank == 0 && model.exchange_bytes > 0) {
      ASSIGN_OR_RETURN(exchange,
                       SharedMemory::Create("phalanx-exchange", static_cast<size_t>(model.exchange_bytes)));
    }
    const int node = placements_[static_cast<size_t>(init.rank)].numa_node;
    const auto copy = std::find(nodes_.begin(), nodes_.end(), node) - nodes_.begin();
    WorkerMemory memory;
    memory.num_blocks = facts_.num_blocks;
    memory.plane_offset = static_cast<int64_t>(plane_bytes) * init.group_rank;
    memory.first_own_block = facts_.blocks_per_group * init.domain;
    std::vector<int> fds = {weights[static_cast<size_t>(copy)].fd(), pool.fd()};
    if (exchange) fds.push_back(exchange->fd());
    RETURN_IF_ERROR(worker.SendMemory(memory, fds));
  }
  return Status::Ok();
}

void WorkerSupervisor::MakeReport() {
  const ModelFacts& model = workers_[0].facts();
  report_.machine = machine_;
  report_.architecture = model.architecture;
  report_.dtype = model.dtype;
  report_.kernel_table = model.kernel_table;
  report_.weight_bytes = model.packed_bytes;
  report_.num_weight_copies = static_cast<int>(nodes_.size());
  report_.blocks_per_group = facts_.blocks_per_group;
  report_.block_size = facts_.block_size;
  const WorkerReady& first = workers_[0].ready();
  report_.weight_pages =
      first.weight_pages == "ordinary"
          ? HugePageAdvice(HugePages::kNone)
          : first.weight_pages + " pages for " + std::to_string(first.huge_bytes >> 20) + " MiB";
  for (const WorkerProcess& worker : workers_) {
    const RankPlacement& placement = placements_[static_cast<size_t>(worker.rank())];
    std::vector<int> meant = placement.cpus;
    std::sort(meant.begin(), meant.end());
    StartReport::RankLine line;
    line.rank = worker.rank();
    line.group = worker.init().domain;
    line.group_rank = worker.init().group_rank;
    line.pid = worker.pid();
    line.cpus = worker.ready().cpus;
    line.num_threads = worker.ready().num_threads;
    line.numa_node = placement.numa_node;
    line.placed = line.cpus == meant;
    if (!line.placed) {
      report_.warnings.push_back(worker.Name() + " should run on CPU " + FormatCpuList(meant) +
                                 " but may run on CPU " + FormatCpuList(line.cpus));
    }
    report_.ranks.push_back(std::move(line));
  }
  if (workers_.size() > machine_.cores.size()) {
    report_.warnings.push_back(std::to_string(workers_.size()) + " ranks share " +
                               std::to_string(machine_.cores.size()) + " cores");
  }
}

void WorkerSupervisor::Watch() {
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (ending_) return;
    }
    TellFences();
    std::vector<pollfd> entries = {{event_.get(), POLLIN, 0}};
    for (const WorkerProcess& worker : workers_) {
      if (worker.pidfd() >= 0) entries.push_back({worker.pidfd(), POLLIN, 0});
    }
    if (::poll(entries.data(), entries.size(), -1) < 0 && errno != EINTR) {
      LogError("the supervisor cannot watch its workers: {}", ErrnoStatus("poll").ToString());
      return;
    }
    eventfd_t ignored;
    ::eventfd_read(event_.get(), &ignored);
    NoticeDeaths();
  }
}

void WorkerSupervisor::NoticeDeaths() {
  for (WorkerProcess& worker : workers_) {
    if (worker.pidfd() < 0) continue;
    const std::optional<std::string> ending = worker.PollEnd();
    if (!ending) continue;
    const int domain = DomainOf(worker.rank());
    // Ranks of a fenced domain end on their own.
    if (Failure(domain)) continue;
    const std::string reason = worker.Name() + " " + (ending->starts_with("killed") ? "was " : "") + *ending;
    LogError("{}", reason);
    FailDomain(domain, {Unavailable(reason), worker.rank()});
  }
}

void WorkerSupervisor::TellFences() {
  std::vector<int> domains;
  {
    const std::lock_guard lock(mutex_);
    domains.swap(untold_fences_);
  }
  for (WorkerProcess& worker : workers_) {
    if (worker.pidfd() < 0 ||
        std::find(domains.begin(), domains.end(), DomainOf(worker.rank())) == domains.end())
      continue;
    // One that does not listen any more is killed at the end.
    [[maybe_unused]] const Status sent = worker.Send(MessageKind::kFence);
  }
}

void WorkerSupervisor::EndAll() {
  for (int domain = 0; domain < options_.dp; ++domain) channel_->Fence(domain);
  for (WorkerProcess& worker : workers_) {
    if (worker.pidfd() < 0) continue;
    [[maybe_unused]] const Status sent = worker.Send(MessageKind::kFence);
  }
  const SteadyTime deadline = std::chrono::steady_clock::now() + options_.shutdown_timeout;
  for (WorkerProcess& worker : workers_) {
    if (worker.WaitEnd(deadline)) continue;
    LogWarning("{} did not end in time and is killed", worker.Name());
    worker.Kill();
  }
  workers_.clear();
}

std::string WorkerSupervisor::RankName(int rank) const {
  return names_[static_cast<size_t>(rank)];
}

std::optional<DomainFailure> WorkerSupervisor::Failure(int domain) const {
  const std::lock_guard lock(mutex_);
  return failures_[static_cast<size_t>(domain)];
}

DomainFailure WorkerSupervisor::FailDomain(int domain, DomainFailure failure) {
  {
    const std::lock_guard lock(mutex_);
    std::optional<DomainFailure>& first = failures_[static_cast<size_t>(domain)];
    if (first) return *first;
    first = failure;
    if (first_failure_.ok()) first_failure_ = failure.status;
    untold_fences_.push_back(domain);
  }
  channel_->Fence(domain);
  ::eventfd_write(event_.get(), 1);
  channel_->Ring();
  return failure;
}

Status WorkerSupervisor::health() const {
  const std::lock_guard lock(mutex_);
  return first_failure_;
}

}  // namespace phalanx
