#pragma once

#include <cstddef>
#include <span>

#include "base/status.h"
#include "plan/step_plan.h"
#include "plan/step_result.h"

namespace phalanx {

// Plans and results as bytes, between processes of one machine and one version: compact, in this machine's
// byte order. Encode writes at the start of `out` and gives the number of bytes; ResourceExhausted if they do
// not fit.
Result<size_t> EncodeStepPlan(const StepPlan& plan, std::span<std::byte> out);
Result<size_t> EncodeStepResult(const StepResult& result, std::span<std::byte> out);

// The way back, into an object whose memory is used again. Internal for bytes that no Encode wrote; never
// anything worse, whatever the bytes are.
Status DecodeStepPlan(std::span<const std::byte> bytes, StepPlan* plan);
Status DecodeStepResult(std::span<const std::byte> bytes, StepResult* result);

}  // namespace phalanx
