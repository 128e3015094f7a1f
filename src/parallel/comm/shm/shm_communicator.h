#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"
#include "parallel/comm/communicator.h"

namespace phalanx {

// An exchange is a plain piece of memory that all ranks of one group can reach: shared between processes, or
// the heap of one. Whoever owns the memory initialises it before the first rank attaches, may fence it at any
// time, and may initialise it again when no rank is attached any more. It holds no pointers, so each process
// may map it elsewhere.

// Floats that one rank hands over at a time; larger payloads go in pieces of this size.
inline constexpr int64_t kExchangePieceFloats = 32 * 1024;

// Bytes of the exchange of a group of `size` ranks. Requires: size >= 1, piece_floats >= 1.
size_t ExchangeBytes(int size, int64_t piece_floats = kExchangePieceFloats);
// Requires: memory is 64-byte aligned and holds ExchangeBytes(size, piece_floats).
void InitExchange(std::span<std::byte> memory, int size, int64_t piece_floats = kExchangePieceFloats);
// Ends every wait, now and later, with Unavailable, until the exchange is initialised again. Any process, any
// thread.
void FenceExchange(std::span<std::byte> memory);

struct ExchangeOptions {
  // Longest wait for the other ranks in one operation. The rank that runs into it fences the exchange and
  // names the silent rank there, so that all others say the same.
  std::chrono::milliseconds timeout{30000};
  // Whether the ranks compare what they called (operation, sizes); a mismatch is Internal and names both
  // sides.
#ifdef NDEBUG
  bool check_operations = false;
#else
  bool check_operations = true;
#endif
};

// One rank's end of an exchange. Each operation copies the rank's part into its slot, meets the others and
// reads their slots; slots are double-buffered, so that one meeting per piece is enough. After an error the
// exchange is of no more use until it is initialised again. The memory must outlive the communicator.
class ShmCommunicator final : public Communicator {
 public:
  // InvalidArgument if the memory is no initialised exchange or has no such rank.
  static Result<std::unique_ptr<ShmCommunicator>> Attach(std::span<std::byte> memory, int group_rank,
                                                         const ExchangeOptions& options = {});

  int size() const override { return size_; }
  int group_rank() const override { return group_rank_; }
  Status AllReduce(std::span<float> data) override;
  Status AllGatherV(std::span<const float> mine, std::span<float> out,
                    std::span<const int64_t> counts) override;
  Status Barrier() override;

 private:
  struct Header;
  struct RankRecord;
  struct Operation;
  friend size_t ExchangeBytes(int size, int64_t piece_floats);
  friend void InitExchange(std::span<std::byte> memory, int size, int64_t piece_floats);
  friend void FenceExchange(std::span<std::byte> memory);

  ShmCommunicator(std::byte* memory, int group_rank, const ExchangeOptions& options);

  // A rank's slot of the buffer in use.
  float* Slot(int rank) const;
  Status AllReducePiece(std::span<float> part, Operation* operation);
  // Says that this rank has arrived with `operation` and waits for all others; counts operation->step up.
  Status Meet(Operation* operation);
  int FirstMissingRank() const;
  // After the deadline: fences, naming the first rank that is missing, or moves on if none is. Returns the
  // meeting word.
  uint32_t GiveUp();
  Status FencedStatus() const;
  Status CompareOperations(uint32_t piece) const;

  Header* header_;
  RankRecord* records_;
  float* slots_;
  int size_;
  int group_rank_;
  int64_t piece_floats_;
  ExchangeOptions options_;
  size_t buffer_ = 0;  // 0 or 1
  uint32_t next_ = 1;  // number of the meeting that this rank enters next, 31 bits
};

}  // namespace phalanx
