#pragma once

// The one definition of Exp, in single precision, that all tables follow operation by operation:
//
//   t = fma(x, kLog2e, kRound)            kRound = 1.5 * 2^23: n = round-to-nearest-even(x / ln 2) is in t's
//   low bits n = t - kRound r = fma(n, -kLn2Low, fma(n, -kLn2High, x))                                  |r|
//   <= ln 2 / 2  (Cody and Waite) p = fma(r, fma(fma(fma(fma(fma(kC6, r, kC5), r, kC4), r, kC3), r, kC2), r,
//   1), 1)          1 + r + r^2 (kC2 ...) y = p with n added to its exponent, that is bits(p) + (bits(t) <<
//   23) Exp = x < kMinX ? 0 : x > kMaxX ? infinity : y
//
// kC2 ... kC6 minimise the largest relative error of p (3e-9, below the rounding of the steps). Results below
// the smallest normal number are 0, so that nothing subnormal arises.
namespace phalanx::exp_constants {

inline constexpr float kLog2e = 0x1.715476p+0f;
inline constexpr float kRound = 0x1.8p+23f;
inline constexpr float kLn2High = 0x1.62e4p-1f;
inline constexpr float kLn2Low = 0x1.7f7d1cp-20f;
inline constexpr float kC2 = 0x1.fffffcp-2f;
inline constexpr float kC3 = 0x1.555492p-3f;
inline constexpr float kC4 = 0x1.5558f2p-5f;
inline constexpr float kC5 = 0x1.123a2p-7f;
inline constexpr float kC6 = 0x1.6a23dp-10f;
inline constexpr float kMinX = -0x1.5d589ep+6f;  // ln 2^-126
inline constexpr float kMaxX = 0x1.62e42ep+6f;   // the largest x whose exp is finite

}  // namespace phalanx::exp_constants
