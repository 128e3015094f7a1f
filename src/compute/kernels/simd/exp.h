#pragma once

#include "compute/kernels/exp_constants.h"

namespace phalanx::PHX_ISA {

// See exp_constants.h.
PHX_INLINE Vec Exp(Vec x) {
  using namespace exp_constants;
  const Vec t = Fma(x, Set(kLog2e), Set(kRound));
  const Vec n = Sub(t, Set(kRound));
  const Vec r = Fma(n, Set(-kLn2Low), Fma(n, Set(-kLn2High), x));
  Vec p = Fma(Set(kC6), r, Set(kC5));
  p = Fma(p, r, Set(kC4));
  p = Fma(p, r, Set(kC3));
  p = Fma(p, r, Set(kC2));
  p = Fma(p, r, Set(1.0f));
  p = Fma(p, r, Set(1.0f));
  const Vec y = AddToExponent(p, t);
  const Vec at_most_infinity = Select(Less(Set(kMaxX), x), Set(__builtin_inff()), y);
  return Select(Less(x, Set(kMinX)), Zero(), at_most_infinity);
}

}  // namespace phalanx::PHX_ISA
