#pragma once

#include <string_view>

// What the core that runs this can do at most, measured now in a few milliseconds of its CPU time.
namespace phalanx::bench {

// Bytes per second of reading memory that no cache holds.
double ReadLimit();
// Operations (a multiplication and an addition are two) per second: of int8 dot products (`integers`) or fp32 fused
// multiply-adds, with the instructions that the kernel table `table` uses; 0 for `reference`.
double ArithmeticLimit(std::string_view table, bool integers);

}  // namespace phalanx::bench
