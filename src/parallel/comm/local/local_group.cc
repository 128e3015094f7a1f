#include "parallel/comm/local/local_group.h"

#include <cstdlib>
#include <utility>

#include "base/check.h"

namespace phalanx {
namespace {

class LocalCommunicator final : public Communicator {
 public:
  LocalCommunicator(std::shared_ptr<std::byte> memory, std::unique_ptr<ShmCommunicator> end)
      : memory_(std::move(memory)), end_(std::move(end)) {}

  int size() const override { return end_->size(); }
  int group_rank() const override { return end_->group_rank(); }
  Status AllReduce(std::span<float> data) override { return end_->AllReduce(data); }
  Status AllGatherV(std::span<const float> mine, std::span<float> out,
                    std::span<const int64_t> counts) override {
    return end_->AllGatherV(mine, out, counts);
  }
  Status Barrier() override { return end_->Barrier(); }

 private:
  std::shared_ptr<std::byte> memory_;
  std::unique_ptr<ShmCommunicator> end_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> MakeLocalGroup(int size, const ExchangeOptions& options,
                                                          int64_t piece_floats) {
  constexpr size_t kAlignment = 64;
  size_t bytes = (ExchangeBytes(size, piece_floats) + kAlignment - 1) / kAlignment * kAlignment;
  std::shared_ptr<std::byte> memory(static_cast<std::byte*>(std::aligned_alloc(kAlignment, bytes)),
                                    std::free);
  CHECK(memory != nullptr);
  std::span<std::byte> exchange(memory.get(), bytes);
  InitExchange(exchange, size, piece_floats);
  std::vector<std::unique_ptr<Communicator>> group;
  for (int rank = 0; rank < size; ++rank) {
    auto end = ShmCommunicator::Attach(exchange, rank, options);
    group.push_back(std::make_unique<LocalCommunicator>(memory, std::move(end).value()));
  }
  return group;
}

}  // namespace phalanx
