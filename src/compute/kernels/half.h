#pragma once

#include <cstdint>

namespace phalanx {

// IEEE binary16, in plain arithmetic, with the bits that the F16C instructions give.
float HalfToFloat(uint16_t half);
// Rounds to nearest even. Beyond +-65504: infinity from 65520 on.
uint16_t FloatToHalf(float value);
// As FloatToHalf, but values beyond +-65504 become +-65504.
uint16_t FloatToHalfSaturated(float value);

}  // namespace phalanx
