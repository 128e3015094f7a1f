#pragma once

// The parts of an unrolled register tile: left to itself the compiler stops
// inlining in the largest ones, and their sums then go through memory.
#define PHX_INLINE [[gnu::always_inline]] inline
