#include "parallel/comm/shm/shm_communicator.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>

#include "base/check.h"
#include "base/wait.h"
#include "parallel/comm/tree_sum.h"

// How ranks meet. `met` is the number of the last piece at which all ranks met, and the one word that is
// waited on. A rank that enters piece n writes n to its record; whoever then finds every record at n moves
// `met` from n - 1 to n. At least one rank does (the records are sequentially consistent), and none can move
// it further, because piece n + 1 needs the mover's own record. The top bit of `met` is the fence: moving it
// fails then, and all see it.
//
// Buffers. Each rank has two slots and takes them in turn, one per piece of payload. A slot is written again
// two pieces later; in between lies a meeting that each reader entered only after it had read. So one meeting
// per piece is enough.

namespace phalanx {
namespace {

constexpr size_t kCacheLine = 64;
constexpr uint32_t kMagic = 0x70687831;
constexpr uint32_t kFenceBit = 0x80000000u;
// From so many floats and ranks on, each rank sums a share and the shares are gathered: two meetings, but
// every rank reads twice the payload instead of `size` times.
constexpr int64_t kShareFloats = 4096;
constexpr int kShareRanks = 4;

constexpr size_t RoundUp(size_t bytes) {
  return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
}
uint32_t Previous(uint32_t piece) {
  return (piece - 1) & ~kFenceBit;
}
uint32_t Next(uint32_t piece) {
  return (piece + 1) & ~kFenceBit;
}

enum class OperationKind : uint32_t { kAllReduce, kAllGatherV, kBarrier };
const char* Name(OperationKind kind) {
  switch (kind) {
    case OperationKind::kAllReduce:
      return "AllReduce";
    case OperationKind::kAllGatherV:
      return "AllGatherV";
    case OperationKind::kBarrier:
      return "Barrier";
  }
  return "?";
}

}  // namespace

// What a rank says it is doing: equal on all ranks that meet.
struct ShmCommunicator::Operation {
  OperationKind kind = OperationKind::kBarrier;
  int32_t step = 0;     // which meeting of the operation
  int64_t floats = 0;   // whole payload: of AllGatherV, of all ranks
  uint64_t counts = 0;  // hash of the counts of AllGatherV

  bool operator==(const Operation&) const = default;
  std::string ToString() const {
    return std::string(Name(kind)) + " of " + std::to_string(floats) + " floats, meeting " +
           std::to_string(step);
  }
};

struct alignas(kCacheLine) ShmCommunicator::Header {
  uint32_t magic;
  int32_t size;
  int64_t piece_floats;
  std::atomic<uint32_t>
      silence;  // (rank that fenced << 16) + rank it waited for + 1; 0: fenced from outside, or not
  alignas(kCacheLine) WaitWord met;
};

struct alignas(kCacheLine) ShmCommunicator::RankRecord {
  std::atomic<uint32_t> entered;
  Operation operation[2];  // by parity of the piece
};

size_t ExchangeBytes(int size, int64_t piece_floats) {
  CHECK(size >= 1 && piece_floats >= 1);
  size_t ranks = static_cast<size_t>(size);
  return sizeof(ShmCommunicator::Header) + ranks * sizeof(ShmCommunicator::RankRecord) +
         2 * ranks * RoundUp(static_cast<size_t>(piece_floats) * sizeof(float));
}

void InitExchange(std::span<std::byte> memory, int size, int64_t piece_floats) {
  CHECK(memory.size() >= ExchangeBytes(size, piece_floats));
  CHECK(reinterpret_cast<uintptr_t>(memory.data()) % kCacheLine == 0);
  static_assert(std::atomic<uint32_t>::is_always_lock_free && std::atomic<int32_t>::is_always_lock_free);
  auto* header = new (memory.data()) ShmCommunicator::Header{};
  header->size = size;
  header->piece_floats = piece_floats;
  auto* records = reinterpret_cast<ShmCommunicator::RankRecord*>(header + 1);
  for (int rank = 0; rank < size; ++rank) new (records + rank) ShmCommunicator::RankRecord{};
  header->magic = kMagic;
}

void FenceExchange(std::span<std::byte> memory) {
  auto* header = reinterpret_cast<ShmCommunicator::Header*>(memory.data());
  uint32_t met = header->met.Load();
  while (!(met & kFenceBit) && !header->met.StoreIf(met, met | kFenceBit)) met = header->met.Load();
}

Result<std::unique_ptr<ShmCommunicator>> ShmCommunicator::Attach(std::span<std::byte> memory, int group_rank,
                                                                 const ExchangeOptions& options) {
  auto* header = reinterpret_cast<Header*>(memory.data());
  if (memory.size() < sizeof(Header) || header->magic != kMagic ||
      memory.size() < ExchangeBytes(header->size, header->piece_floats)) {
    return InvalidArgument("the memory given as a group's exchange holds none");
  }
  if (group_rank < 0 || group_rank >= header->size) {
    return InvalidArgument("group rank " + std::to_string(group_rank) + " of an exchange of " +
                           std::to_string(header->size) + " ranks");
  }
  std::unique_ptr<ShmCommunicator> communicator(new ShmCommunicator(memory.data(), group_rank, options));
  if (communicator->records_[group_rank].entered.load() != 0) {
    return InvalidArgument("group rank " + std::to_string(group_rank) +
                           " has used this exchange before; it must be initialised again first");
  }
  return communicator;
}

ShmCommunicator::ShmCommunicator(std::byte* memory, int group_rank, const ExchangeOptions& options)
    : header_(reinterpret_cast<Header*>(memory)),
      records_(reinterpret_cast<RankRecord*>(header_ + 1)),
      slots_(reinterpret_cast<float*>(records_ + header_->size)),
      size_(header_->size),
      group_rank_(group_rank),
      piece_floats_(header_->piece_floats),
      options_(options) {}

float* ShmCommunicator::Slot(int rank) const {
  size_t slot_floats = RoundUp(static_cast<size_t>(piece_floats_) * sizeof(float)) / sizeof(float);
  return slots_ + (2 * static_cast<size_t>(rank) + buffer_) * slot_floats;
}

Status ShmCommunicator::AllReduce(std::span<float> data) {
  CHECK((size_ & (size_ - 1)) == 0);
  if (size_ == 1) return Status::Ok();
  Operation operation{.kind = OperationKind::kAllReduce, .floats = static_cast<int64_t>(data.size())};
  size_t piece = static_cast<size_t>(piece_floats_);
  size_t done = 0;
  do {
    std::span<float> part = data.subspan(done, std::min(piece, data.size() - done));
    RETURN_IF_ERROR(AllReducePiece(part, &operation));
    done += part.size();
  } while (done < data.size());
  return Status::Ok();
}

Status ShmCommunicator::AllReducePiece(std::span<float> part, Operation* operation) {
  buffer_ ^= 1;
  std::copy(part.begin(), part.end(), Slot(group_rank_));
  RETURN_IF_ERROR(Meet(operation));
  auto part_of = [this](int rank) { return static_cast<const float*>(Slot(rank)); };
  int64_t floats = static_cast<int64_t>(part.size());
  if (size_ < kShareRanks || floats < kShareFloats) {
    TreeSum(part_of, size_, 0, floats, part.data());
    return Status::Ok();
  }
  // Nobody else reads this rank's share of its own slot, so the sum may go there.
  auto share_begin = [&](int rank) { return floats * rank / size_; };
  int64_t begin = share_begin(group_rank_), end = share_begin(group_rank_ + 1);
  TreeSum(part_of, size_, begin, end, part.data() + begin);
  std::copy(part.data() + begin, part.data() + end, Slot(group_rank_) + begin);
  RETURN_IF_ERROR(Meet(operation));
  for (int rank = 0; rank < size_; ++rank) {
    if (rank == group_rank_) continue;
    std::copy(part_of(rank) + share_begin(rank), part_of(rank) + share_begin(rank + 1),
              part.data() + share_begin(rank));
  }
  return Status::Ok();
}

Status ShmCommunicator::AllGatherV(std::span<const float> mine, std::span<float> out,
                                   std::span<const int64_t> counts) {
  CHECK(counts.size() == static_cast<size_t>(size_));
  CHECK(static_cast<int64_t>(mine.size()) == counts[static_cast<size_t>(group_rank_)]);
  Operation operation{.kind = OperationKind::kAllGatherV};
  int64_t longest = 0;
  for (int64_t count : counts) {
    operation.floats += count;
    operation.counts = operation.counts * 0x9e3779b97f4a7c15u + static_cast<uint64_t>(count) + 1;
    longest = std::max(longest, count);
  }
  CHECK(operation.floats == static_cast<int64_t>(out.size()));
  if (size_ == 1) {
    std::copy(mine.begin(), mine.end(), out.begin());
    return Status::Ok();
  }
  int64_t done = 0;
  do {
    auto part_floats = [&](int64_t count) { return std::clamp<int64_t>(count - done, 0, piece_floats_); };
    buffer_ ^= 1;
    std::copy_n(mine.data() + done, part_floats(static_cast<int64_t>(mine.size())), Slot(group_rank_));
    RETURN_IF_ERROR(Meet(&operation));
    float* to = out.data();
    for (int rank = 0; rank < size_; ++rank) {
      int64_t count = counts[static_cast<size_t>(rank)];
      std::copy_n(Slot(rank), part_floats(count), to + done);
      to += count;
    }
    done += piece_floats_;
  } while (done < longest);
  return Status::Ok();
}

Status ShmCommunicator::Barrier() {
  if (size_ == 1) return Status::Ok();
  Operation operation{.kind = OperationKind::kBarrier};
  return Meet(&operation);
}

Status ShmCommunicator::Meet(Operation* operation) {
  const uint32_t piece = next_;
  const uint32_t previous = Previous(piece);
  records_[group_rank_].operation[piece & 1] = *operation;
  records_[group_rank_].entered.store(piece);
  if (FirstMissingRank() < 0) header_->met.StoreIf(previous, piece);
  uint32_t met = header_->met.WaitWhile(previous, std::chrono::steady_clock::now() + options_.timeout);
  if (met == previous) met = GiveUp();
  if (met & kFenceBit) return FencedStatus();
  next_ = Next(piece);
  ++operation->step;
  return options_.check_operations ? CompareOperations(piece) : Status::Ok();
}

int ShmCommunicator::FirstMissingRank() const {
  for (int rank = 0; rank < size_; ++rank) {
    if (records_[rank].entered.load() == Previous(next_)) return rank;
  }
  return -1;
}

uint32_t ShmCommunicator::GiveUp() {
  uint32_t previous = Previous(next_);
  int missing = FirstMissingRank();
  if (missing >= 0) {
    uint32_t nobody = 0;
    header_->silence.compare_exchange_strong(nobody,
                                             static_cast<uint32_t>((group_rank_ << 16) + missing + 1));
  }
  header_->met.StoreIf(previous, missing >= 0 ? previous | kFenceBit : next_);
  return header_->met.Load();
}

Status ShmCommunicator::FencedStatus() const {
  uint32_t silence = header_->silence.load();
  if (silence == 0) return Unavailable("the exchange between the ranks was ended from outside");
  return Unavailable("group rank " + std::to_string((silence & 0xffff) - 1) + " of " + std::to_string(size_) +
                     " did not come to the exchange within " + std::to_string(options_.timeout.count()) +
                     " ms (noticed by group rank " + std::to_string(silence >> 16) + ")");
}

Status ShmCommunicator::CompareOperations(uint32_t piece) const {
  const Operation& mine = records_[group_rank_].operation[piece & 1];
  for (int rank = 0; rank < size_; ++rank) {
    const Operation& theirs = records_[rank].operation[piece & 1];
    if (theirs == mine) continue;
    return Internal("ranks disagree at meeting " + std::to_string(piece) + ": group rank " +
                    std::to_string(group_rank_) + " called " + mine.ToString() + ", group rank " +
                    std::to_string(rank) + " called " + theirs.ToString());
  }
  return Status::Ok();
}

}  // namespace phalanx
