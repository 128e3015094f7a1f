#include "limits.h"

#include <immintrin.h>
#include <sys/mman.h>
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace phalanx::bench {
namespace {

// CPU time, so that what else runs on the machine counts as little as it can.
double Now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// The best of a few runs of `f`, in units of `amount` per second.
template <class F>
double Best(double amount, F f) {
  double best = 0;
  for (int i = 0; i < 5; ++i) {
    const double start = Now();
    f();
    const double rate = amount / (Now() - start);
    best = rate > best ? rate : best;
  }
  return best;
}

constexpr long kIterations = 300'000;

// Enough independent chains to hide the latency of 4 cycles at two per cycle.
__attribute__((target("avx512f,avx512vnni"))) void DotAvx512() {
  __m512i acc[10];
  for (auto& a : acc) a = _mm512_setzero_si512();
  __m512i w = _mm512_set1_epi8(17);
  __m512i x = _mm512_set1_epi8(-23);
  for (long i = 0; i < kIterations; ++i) {
    for (auto& a : acc) a = _mm512_dpbusd_epi32(a, w, x);
    asm volatile("" : "+v"(w), "+v"(x));
  }
  for (auto& a : acc) asm volatile("" ::"v"(a));
}

__attribute__((target("avx512f"))) void FmaAvx512() {
  __m512 acc[10];
  for (auto& a : acc) a = _mm512_set1_ps(0.5f);
  __m512 w = _mm512_set1_ps(0.999f);
  __m512 x = _mm512_set1_ps(1e-3f);
  for (long i = 0; i < kIterations; ++i) {
    for (auto& a : acc) a = _mm512_fmadd_ps(a, w, x);
    asm volatile("" : "+v"(w), "+v"(x));
  }
  for (auto& a : acc) asm volatile("" ::"v"(a));
}

__attribute__((target("avx2"))) void DotAvx2() {
  __m256i acc[10];
  for (auto& a : acc) a = _mm256_setzero_si256();
  __m256i w = _mm256_set1_epi8(17);
  __m256i x = _mm256_set1_epi8(-23);
  const __m256i ones = _mm256_set1_epi16(1);
  for (long i = 0; i < kIterations; ++i) {
    for (auto& a : acc) {
      asm volatile("" : "+x"(x));
      a = _mm256_add_epi32(a, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), ones));
    }
  }
  for (auto& a : acc) asm volatile("" ::"x"(a));
}

__attribute__((target("avx2,fma"))) void FmaAvx2() {
  __m256 acc[10];
  for (auto& a : acc) a = _mm256_set1_ps(0.5f);
  __m256 w = _mm256_set1_ps(0.999f);
  __m256 x = _mm256_set1_ps(1e-3f);
  for (long i = 0; i < kIterations; ++i) {
    for (auto& a : acc) a = _mm256_fmadd_ps(a, w, x);
    asm volatile("" : "+x"(w), "+x"(x));
  }
  for (auto& a : acc) asm volatile("" ::"x"(a));
}

__attribute__((target("avx2"))) void Read(const std::byte* p, size_t bytes) {
  __m256i a = _mm256_setzero_si256();
  __m256i b = a;
  for (size_t i = 0; i < bytes; i += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(p + i + 4096), _MM_HINT_T0);
    a = _mm256_xor_si256(a, _mm256_load_si256(reinterpret_cast<const __m256i*>(p + i)));
    b = _mm256_xor_si256(b, _mm256_load_si256(reinterpret_cast<const __m256i*>(p + i + 32)));
  }
  asm volatile("" ::"x"(_mm256_xor_si256(a, b)));
}

}  // namespace

double ReadLimit() {
  constexpr size_t kBytes = size_t{256} << 20;
  static std::byte* memory = [] {
    void* p = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(p, kBytes, MADV_HUGEPAGE);
    std::memset(p, 1, kBytes);
    return static_cast<std::byte*>(p);
  }();
  return Best(kBytes / 4, [part = 0]() mutable {
    Read(memory + static_cast<size_t>(part++ % 4) * (kBytes / 4), kBytes / 4);
  });
}

double ArithmeticLimit(std::string_view table, bool integers) {
  const double chains = 10.0 * static_cast<double>(kIterations);
  if (table == "avx512") return integers ? Best(chains * 128, DotAvx512) : Best(chains * 32, FmaAvx512);
  if (table == "avx2") return integers ? Best(chains * 64, DotAvx2) : Best(chains * 16, FmaAvx2);
  return 0;
}

}  // namespace phalanx::bench
