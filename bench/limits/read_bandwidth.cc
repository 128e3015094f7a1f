// Read bandwidth of the machine's memory: usage read_bandwidth [THREADS]. Each thread reads its part of 1 GiB; prints the
// median and the range of nine passes. Run it beside every decode figure: on shared hosts it changes within minutes.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

namespace {

constexpr size_t kBytes = size_t{1} << 30;

// Many independent sums, so that adding is never what takes the time.
uint64_t ReadAll(const uint64_t* begin, size_t count) {
  uint64_t sums[32] = {};
  for (size_t i = 0; i < count; i += 32) {
    for (size_t j = 0; j < 32; ++j) sums[j] += begin[i + j];
  }
  uint64_t total = 0;
  for (const uint64_t sum : sums) total += sum;
  return total;
}

double Pass(const std::vector<uint64_t>& memory, size_t num_threads, std::vector<uint64_t>* sink) {
  const size_t share = memory.size() / num_threads / 32 * 32;
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (size_t t = 0; t < num_threads; ++t) {
    threads.emplace_back([&, t] { (*sink)[t] += ReadAll(memory.data() + t * share, share); });
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return static_cast<double>(share * num_threads * sizeof(uint64_t)) / seconds / 1e9;
}

}  // namespace

int main(int argc, char** argv) {
  const size_t num_threads =
      argc > 1 ? std::strtoul(argv[1], nullptr, 10) : std::thread::hardware_concurrency();
  if (num_threads == 0 || num_threads > 1024) {
    std::fprintf(stderr, "usage: read_bandwidth [THREADS]\n");
    return 2;
  }
  const std::vector<uint64_t> memory(kBytes / sizeof(uint64_t), 1);
  std::vector<uint64_t> sink(num_threads);
  std::vector<double> rates;
  for (int pass = 0; pass < 9; ++pass) rates.push_back(Pass(memory, num_threads, &sink));
  std::sort(rates.begin(), rates.end());
  std::printf("read bandwidth, %zu threads: %.1f GB/s (%.1f-%.1f)\n", num_threads, rates[4], rates.front(),
              rates.back());
  return sink[0] == 0;
}
