#include "parallel/comm/faulty/faulty_communicator.h"

#include <utility>

namespace phalanx {

FaultyCommunicator::FaultyCommunicator(Communicator* inner, int64_t healthy_operations, Status failure)
    : inner_(inner), healthy_operations_(healthy_operations), failure_(std::move(failure)) {}

bool FaultyCommunicator::Healthy() {
  return healthy_operations_-- > 0;
}

Status FaultyCommunicator::AllReduce(std::span<float> data) {
  return Healthy() ? inner_->AllReduce(data) : failure_;
}

Status FaultyCommunicator::AllGatherV(std::span<const float> mine, std::span<float> out,
                                      std::span<const int64_t> counts) {
  return Healthy() ? inner_->AllGatherV(mine, out, counts) : failure_;
}

Status FaultyCommunicator::Barrier() {
  return Healthy() ? inner_->Barrier() : failure_;
}

}  // namespace phalanx
