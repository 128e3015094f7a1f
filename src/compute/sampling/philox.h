#pragma once

#include <array>
#include <cstdint>

namespace phalanx {

// Philox4x32-10, a counter-based generator: 128 random bits as a function of counter and key.
// J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11.
std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// The uniform number in [0, 1), a multiple of 2^-53, that draws the token of `position` in a request's sequence `choice`.
double UniformOf(uint64_t seed, int32_t choice, int64_t position);

}  // namespace phalanx
