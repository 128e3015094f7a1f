#pragma once

namespace phalanx::PHX_ISA {

template <int kValue>
struct Count {
  static constexpr int value = kValue;
};

// Calls f(Count<n>{}) for n in 1 ... kMax, so that a loop over n can be
// unrolled.
template <int kMax, class F>
inline void WithCount(int n, F f) {
  if constexpr (kMax > 1) {
    if (n < kMax) return WithCount<kMax - 1>(n, f);
  }
  f(Count<kMax>{});
}

}  // namespace phalanx::PHX_ISA
