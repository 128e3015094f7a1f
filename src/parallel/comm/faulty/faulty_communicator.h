#pragma once

#include <cstdint>
#include <memory>

#include "parallel/comm/communicator.h"

namespace phalanx {

// For tests: passes everything on to another communicator until its `healthy_operations` are used up; every
// operation after that fails with `failure` at once, without telling the group. So the others meet a silent
// rank.
class FaultyCommunicator final : public Communicator {
 public:
  FaultyCommunicator(Communicator* inner, int64_t healthy_operations, Status failure);

  int size() const override { return inner_->size(); }
  int group_rank() const override { return inner_->group_rank(); }
  Status AllReduce(std::span<float> data) override;
  Status AllGatherV(std::span<const float> mine, std::span<float> out,
                    std::span<const int64_t> counts) override;
  Status Barrier() override;

 private:
  bool Healthy();

  Communicator* inner_;  // not owned
  int64_t healthy_operations_;
  Status failure_;
};

}  // namespace phalanx
