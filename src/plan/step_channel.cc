#include "plan/step_channel.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <string>

#include "base/check.h"
#include "plan/codec.h"

// Plan number n (from 1, per domain) lies in slot n % kStepSlots. `plans` counts the published ones: it is
// the word that ranks wait on. A slot is written again only when its result was collected, so a rank reads
// and writes it alone. Zero bytes are the right beginning for everything here: the memory is fresh.
namespace phalanx {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kMessageBytes = 400;

struct SlotHeader {
  std::atomic<uint64_t> plan_size;
  std::atomic<uint64_t> result_size;
  std::atomic<uint32_t> finished;  // ranks
};

// What one rank says of one step.
struct alignas(64) RankReport {
  std::atomic<uint32_t> finished;  // number of the plan it has finished last in this slot
  uint32_t code;
  double seconds;
  uint32_t message_size;
  char message[kMessageBytes];
};

struct DomainHeader {
  alignas(64) WaitWord plans;
  alignas(64) std::atomic<uint32_t> fenced;
  alignas(64) SlotHeader slots[kStepSlots];
  RankReport reports[kStepSlots][kMaxRanksPerDomain];
};

constexpr size_t kHeaderBytes = RoundUp(sizeof(DomainHeader), kPageBytes);

// One domain's part of the memory.
struct DomainView {
  std::byte* base;
  const StepChannelShape* shape;

  DomainHeader* header() const { return reinterpret_cast<DomainHeader*>(base); }
  std::span<std::byte> plan(uint32_t slot) const {
    return {base + kHeaderBytes + slot * SlotBytes(), shape->plan_bytes};
  }
  std::span<std::byte> result(uint32_t slot) const {
    return {base + kHeaderBytes + slot * SlotBytes() + RoundUp(shape->plan_bytes, kPageBytes),
            shape->result_bytes};
  }
  size_t SlotBytes() const {
    return RoundUp(shape->plan_bytes, kPageBytes) + RoundUp(shape->result_bytes, kPageBytes);
  }
};

DomainView HostView(const SharedMapping& mapping, const StepChannelShape& shape, int domain) {
  return {mapping.data() + kPageBytes + static_cast<size_t>(domain) * shape.domain_bytes(), &shape};
}

void WriteReport(RankReport* report, const Status& status, double seconds) {
  report->code = static_cast<uint32_t>(status.code());
  report->seconds = seconds;
  report->message_size = static_cast<uint32_t>(std::min(status.message().size(), kMessageBytes));
  std::memcpy(report->message, status.message().data(), report->message_size);
}

Status ReadReport(const RankReport& report) {
  if (report.code == static_cast<uint32_t>(StatusCode::kOk)) return Status::Ok();
  const uint32_t code = std::min(report.code, static_cast<uint32_t>(StatusCode::kInternal));
  return Status(static_cast<StatusCode>(code),
                std::string(report.message, std::min<size_t>(report.message_size, kMessageBytes)));
}

}  // namespace

size_t StepChannelShape::domain_bytes() const {
  return kHeaderBytes + kStepSlots * DomainView{nullptr, this}.SlotBytes();
}

size_t StepChannelShape::total_bytes() const {
  return kPageBytes + static_cast<size_t>(num_domains) * domain_bytes();
}

Result<StepChannelHost> StepChannelHost::Create(const StepChannelShape& shape) {
  CHECK(shape.num_domains > 0 && shape.ranks_per_domain > 0 && shape.ranks_per_domain <= kMaxRanksPerDomain);
  StepChannelHost host;
  host.shape_ = shape;
  ASSIGN_OR_RETURN(host.memory_, SharedMemory::Create("phalanx-steps", shape.total_bytes()));
  ASSIGN_OR_RETURN(host.mapping_, SharedMapping::Map(host.memory_, 0, shape.total_bytes(), true,
                                                     SharedMapping::Pages::kOrdinary));
  host.tickets_.resize(static_cast<size_t>(shape.num_domains));
  return host;
}

WaitWord* StepChannelHost::doorbell() const {
  return reinterpret_cast<WaitWord*>(mapping_.data());
}

Status StepChannelHost::Publish(const StepPlan& plan) {
  CHECK(plan.domain >= 0 && plan.domain < shape_.num_domains);
  CHECK(InFlight(plan.domain) < kStepSlots);
  Ticket& ticket = tickets_[static_cast<size_t>(plan.domain)];
  const DomainView view = HostView(mapping_, shape_, plan.domain);
  const uint32_t slot = (ticket.published + 1) % kStepSlots;
  ASSIGN_OR_RETURN(const size_t size, EncodeStepPlan(plan, view.plan(slot)));
  SlotHeader& header = view.header()->slots[slot];
  header.plan_size.store(size, std::memory_order_relaxed);
  header.result_size.store(0, std::memory_order_relaxed);
  header.finished.store(0, std::memory_order_relaxed);
  ++ticket.published;
  view.header()->plans.Store(ticket.published);
  return Status::Ok();
}

int StepChannelHost::InFlight(int domain) const {
  const Ticket& ticket = tickets_[static_cast<size_t>(domain)];
  return static_cast<int>(ticket.published - ticket.collected);
}

std::optional<StepResult> StepChannelHost::Collect(int domain) {
  Ticket& ticket = tickets_[static_cast<size_t>(domain)];
  if (ticket.published == ticket.collected) return std::nullopt;
  const DomainView view = HostView(mapping_, shape_, domain);
  const uint32_t slot = (ticket.collected + 1) % kStepSlots;
  const SlotHeader& header = view.header()->slots[slot];
  if (header.finished.load(std::memory_order_acquire) < static_cast<uint32_t>(shape_.ranks_per_domain)) {
    return std::nullopt;
  }
  ++ticket.collected;

  StepResult result;
  const size_t size =
      std::min<size_t>(header.result_size.load(std::memory_order_relaxed), shape_.result_bytes);
  if (Status decoded = DecodeStepResult(view.result(slot).first(size), &result); !decoded.ok()) {
    result = StepResult();
    result.status = std::move(decoded);
    result.failed_rank = 0;
  }
  result.domain = domain;
  for (int rank = 0; rank < shape_.ranks_per_domain; ++rank) {
    const RankReport& report = view.header()->reports[slot][rank];
    result.seconds = std::max(result.seconds, report.seconds);
    Status status = ReadReport(report);
    if (status.ok() || (!result.status.ok() && rank > 0)) continue;
    result.status = std::move(status);
    result.failed_rank = rank;
  }
  return result;
}

int StepChannelHost::FirstUnfinishedRank(int domain) const {
  const Ticket& ticket = tickets_[static_cast<size_t>(domain)];
  if (ticket.published == ticket.collected) return -1;
  const uint32_t plan = ticket.collected + 1;
  const DomainHeader* const header = HostView(mapping_, shape_, domain).header();
  for (int rank = 0; rank < shape_.ranks_per_domain; ++rank) {
    if (header->reports[plan % kStepSlots][rank].finished.load(std::memory_order_acquire) != plan)
      return rank;
  }
  return -1;
}

void StepChannelHost::Fence(int domain) {
  DomainHeader* const header = HostView(mapping_, shape_, domain).header();
  header->fenced.store(1, std::memory_order_seq_cst);
  // Any other value wakes the ranks; they look at the fence first.
  header->plans.Add(1u << 31);
}

void StepChannelHost::WaitForRing(SteadyTime deadline) {
  rings_seen_ = doorbell()->WaitWhile(rings_seen_, deadline, {50, std::chrono::microseconds(20)});
}

Result<StepChannelRank> StepChannelRank::Attach(const SharedMemory& memory, const StepChannelShape& shape,
                                                int domain, int rank_in_domain) {
  if (domain < 0 || domain >= shape.num_domains || rank_in_domain < 0 ||
      rank_in_domain >= shape.ranks_per_domain || shape.ranks_per_domain > kMaxRanksPerDomain) {
    return InvalidArgument("the step channel has no rank " + std::to_string(rank_in_domain) + " of domain " +
                           std::to_string(domain));
  }
  StepChannelRank channel;
  channel.shape_ = shape;
  channel.domain_ = domain;
  channel.rank_ = rank_in_domain;
  ASSIGN_OR_RETURN(channel.mapping_,
                   SharedMapping::Map(memory, 0, shape.total_bytes(), true, SharedMapping::Pages::kOrdinary));
  return channel;
}

Result<StepChannelRank::Next> StepChannelRank::WaitForPlan(StepPlan* plan, SteadyTime deadline) {
  const DomainView view = HostView(mapping_, shape_, domain_);
  DomainHeader* const header = view.header();
  const uint32_t published =
      header->plans.WaitWhile(finished_, deadline, {100, std::chrono::microseconds(50)});
  if (header->fenced.load(std::memory_order_seq_cst) != 0) return Next::kFenced;
  if (published == finished_) return Next::kTimeout;
  const uint32_t slot = (finished_ + 1) % kStepSlots;
  const size_t size =
      std::min<size_t>(header->slots[slot].plan_size.load(std::memory_order_relaxed), shape_.plan_bytes);
  RETURN_IF_ERROR(DecodeStepPlan(view.plan(slot).first(size), plan));
  return Next::kPlan;
}

void StepChannelRank::Finish(const Status& status, const StepResult* result, double seconds) {
  const DomainView view = HostView(mapping_, shape_, domain_);
  DomainHeader* const header = view.header();
  const uint32_t number = ++finished_;
  const uint32_t slot = number % kStepSlots;
  Status reported = status;
  if (result != nullptr) {
    Result<size_t> size = EncodeStepResult(*result, view.result(slot));
    if (size.ok()) {
      header->slots[slot].result_size.store(*size, std::memory_order_relaxed);
    } else {
      reported = size.status();
    }
  }
  RankReport& report = header->reports[slot][rank_];
  WriteReport(&report, reported, seconds);
  report.finished.store(number, std::memory_order_release);
  const uint32_t ranks = static_cast<uint32_t>(shape_.ranks_per_domain);
  if (header->slots[slot].finished.fetch_add(1, std::memory_order_acq_rel) + 1 == ranks) {
    reinterpret_cast<WaitWord*>(mapping_.data())->Add(1);
  }
}

}  // namespace phalanx
