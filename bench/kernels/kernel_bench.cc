#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "compute/kernels/half.h"
#include "compute/kernels/kernel_table.h"
#include "limits.h"

// Speed of every kernel table that runs here, beside the limits of the core, which are measured just before each
// benchmark. One thread; rates are per second of its CPU time.
namespace phalanx::bench {
namespace {

constexpr size_t kColdBytes = size_t{128} << 20;  // more than the caches hold
constexpr size_t kHugePage = size_t{2} << 20;

struct FreeMemory {
  void operator()(std::byte* p) const { std::free(p); }
};
using Memory = std::unique_ptr<std::byte, FreeMemory>;

Memory Allocate(size_t bytes) {
  const size_t rounded = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  Memory memory(static_cast<std::byte*>(std::aligned_alloc(kHugePage, rounded)));
  madvise(memory.get(), rounded, MADV_HUGEPAGE);
  return memory;
}

// Copies of one random matrix, enough that each is read from memory when its turn comes again: as in decoding, where
// all weights of a model pass by.
struct ColdWeights {
  ColdWeights(WeightFormat format, int64_t n, int64_t k) {
    const size_t bytes = (PackedBytes(format, n, k) + 63) / 64 * 64;
    num_copies = kColdBytes / bytes + 1;
    memory = Allocate(bytes * num_copies);
    std::mt19937 random(1);
    std::vector<std::byte> row(CheckpointRowBytes(format, k));
    for (std::byte& b : row) b = static_cast<std::byte>(random() & 63);  // small floats in every format
    const auto get_row = [](const void* context, int64_t) { return static_cast<const std::byte*>(context); };
    PackPanels(format, get_row, row.data(), n, k, 0, (n + kPanelColumns - 1) / kPanelColumns, memory.get());
    for (size_t i = 1; i < num_copies; ++i) std::memcpy(memory.get() + i * bytes, memory.get(), bytes);
    matrix = {memory.get(), format, n, k};
    stride = bytes;
  }

  PackedMatrix Next() {
    matrix.data = memory.get() + next++ % num_copies * stride;
    return matrix;
  }

  size_t num_copies, stride, next = 0;
  Memory memory;
  PackedMatrix matrix;
};

std::vector<float> RandomFloats(size_t count) {
  std::mt19937 random(2);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  std::vector<float> values(count);
  for (float& v : values) v = uniform(random);
  return values;
}

struct Rows {
  Rows(const KernelTable& kernels, int64_t rows, int64_t k)
      : x(RandomFloats(static_cast<size_t>(rows * k))),
        q(x.size()),
        scale(x.size() / 32),
        sum_q(scale.size()),
        sum(scale.size()) {
    for (int64_t r = 0; r < rows; ++r) kernels.quantize_row(x.data() + r * k, k, r, Quantized());
  }
  QuantizedRows Quantized() { return {q.data(), scale.data(), sum_q.data(), sum.data()}; }

  std::vector<float> x;
  std::vector<int8_t> q;
  std::vector<float> scale;
  std::vector<int32_t> sum_q;
  std::vector<float> sum;
};

void SetRates(benchmark::State& state, const KernelTable& kernels, bool integers, double bytes,
              double operations) {
  const double peak = ArithmeticLimit(kernels.name, integers);
  const double read = ReadLimit();
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9, rate);
  state.counters["Gop/s"] = benchmark::Counter(operations * 1e-9, rate);
  state.counters["of_read"] = benchmark::Counter(bytes / read, rate);
  if (peak > 0) state.counters["of_peak"] = benchmark::Counter(operations / peak, rate);
}

void MatMul(benchmark::State& state, const KernelTable& kernels, WeightFormat format, int64_t n, int64_t k,
            int64_t rows) {
  ColdWeights weights(format, n, k);
  Rows x(kernels, rows, k);
  std::vector<float> out(static_cast<size_t>(rows * n));
  MatMulArgs args;
  args.rows = rows;
  args.x = x.x.data();
  args.x_stride = k;
  args.xq = x.Quantized();
  args.n_end = n;
  args.k_end = k;
  args.out = out.data();
  args.out_stride = n;
  const double elements = static_cast<double>(n) * static_cast<double>(k);
  SetRates(state, kernels, IsBlockFormat(format), static_cast<double>(PackedBytes(format, n, k)),
           2.0 * elements * static_cast<double>(rows));
  for (auto _ : state) {
    args.w = weights.Next();
    kernels.mat_mul(args);
    benchmark::ClobberMemory();
  }
}

void Attention(benchmark::State& state, const KernelTable& kernels, KvFormat format, int rows,
               int64_t context) {
  constexpr int kBlockSize = 128;
  constexpr int kHeadDim = 64;
  constexpr int kHeads = 3;
  const size_t head_bytes = KvPageHeadElements(kBlockSize, kHeadDim) * KvBytes(format);
  const int64_t num_blocks = (context + kBlockSize - 1) / kBlockSize;
  const size_t sequence_bytes = head_bytes * static_cast<size_t>(num_blocks);
  const size_t copies = rows == 1 ? kColdBytes / sequence_bytes + 1 : 1;
  const Memory pages = Allocate(sequence_bytes * copies);
  std::memset(pages.get(), 0x23, sequence_bytes * copies);
  std::vector<int32_t> table(static_cast<size_t>(num_blocks));
  for (size_t b = 0; b < table.size(); ++b) table[b] = static_cast<int32_t>(b);
  const std::vector<float> q = RandomFloats(static_cast<size_t>(rows * kHeads * kHeadDim));
  std::vector<float> out(q.size());
  std::vector<float> scratch(AttentionScratchFloats(kBlockSize, kHeadDim, kHeads));
  AttentionArgs args;
  args.q = q.data();
  args.q_stride = kHeads * kHeadDim;
  args.out = out.data();
  args.out_stride = args.q_stride;
  args.rows = rows;
  args.heads = kHeads;
  args.head_dim = kHeadDim;
  args.first_position = context - rows;
  args.window = 0;
  args.scale = 0.125f;
  args.format = format;
  args.block_size = kBlockSize;
  args.block_table = table.data();
  args.page_stride = static_cast<int64_t>(head_bytes);
  args.scratch = scratch.data();
  const double seen = static_cast<double>(rows) * (static_cast<double>(context) - 0.5 * (rows - 1));
  SetRates(state, kernels, false, static_cast<double>(sequence_bytes), seen * 4.0 * kHeadDim * kHeads);
  size_t next = 0;
  for (auto _ : state) {
    args.pages = pages.get() + next++ % copies * sequence_bytes;
    kernels.attention(args);
    benchmark::ClobberMemory();
  }
}

void Quantize(benchmark::State& state, const KernelTable& kernels, int64_t k) {
  Rows x(kernels, 1, k);
  SetRates(state, kernels, false, static_cast<double>(k) * 4, static_cast<double>(k) * 4);
  for (auto _ : state) {
    kernels.quantize_row(x.x.data(), k, 0, x.Quantized());
    benchmark::ClobberMemory();
  }
}

void Silu(benchmark::State& state, const KernelTable& kernels, int64_t n) {
  const std::vector<float> gate = RandomFloats(static_cast<size_t>(n));
  std::vector<float> out(gate.size());
  SetRates(state, kernels, false, static_cast<double>(n) * 12, static_cast<double>(n) * 20);
  for (auto _ : state) {
    kernels.silu_mul(gate.data(), gate.data(), n, out.data());
    benchmark::ClobberMemory();
  }
}

void RegisterAll(const KernelTable& kernels) {
  const std::string table = std::string(kernels.name) + "/";
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kF16, WeightFormat::kBF16,
                                    WeightFormat::kQ8_0, WeightFormat::kQ4_0, WeightFormat::kQ4_1}) {
    for (const auto& [n, k] :
         {std::pair<int64_t, int64_t>{576, 576}, {1536, 576}, {576, 1536}, {49152, 576}, {2048, 2048}}) {
      for (const int64_t rows : {1, 4, 8, 16, 32, 512}) {
        const std::string name = "mat_mul/" + table + std::string(WeightFormatName(format)) + "/" +
                                 std::to_string(n) + "x" + std::to_string(k) +
                                 "/rows:" + std::to_string(rows);
        benchmark::RegisterBenchmark(name.c_str(),
                                     [&kernels, format, n = n, k = k, rows](benchmark::State& state) {
                                       MatMul(state, kernels, format, n, k, rows);
                                     });
      }
    }
  }
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kF16}) {
    for (const int64_t context : {128, 2048}) {
      for (const int rows : {1, 128}) {
        const std::string name = "attention/" + table + (format == KvFormat::kF32 ? "F32" : "F16") +
                                 "/context:" + std::to_string(context) + "/rows:" + std::to_string(rows);
        benchmark::RegisterBenchmark(name.c_str(),
                                     [&kernels, format, rows, context](benchmark::State& state) {
                                       Attention(state, kernels, format, rows, context);
                                     });
      }
    }
  }
  benchmark::RegisterBenchmark(("quantize/" + table + "1536").c_str(),
                               [&kernels](benchmark::State& state) { Quantize(state, kernels, 1536); });
  benchmark::RegisterBenchmark(("silu_mul/" + table + "1536").c_str(),
                               [&kernels](benchmark::State& state) { Silu(state, kernels, 1536); });
}

}  // namespace
}  // namespace phalanx::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  for (const std::string_view name : phalanx::KernelTableNames()) {
    const auto table = phalanx::SelectKernels(name);
    if (!table.ok() || name == "reference") continue;
    phalanx::bench::RegisterAll(*table.value());
    benchmark::AddCustomContext(
        std::string(name) + " limits",
        "int8 " + std::to_string(phalanx::bench::ArithmeticLimit(name, true) * 1e-9) + " Gop/s, fp32 " +
            std::to_string(phalanx::bench::ArithmeticLimit(name, false) * 1e-9) + " Gop/s");
  }
  benchmark::AddCustomContext("read limit", std::to_string(phalanx::bench::ReadLimit() * 1e-9) + " GB/s");
  benchmark::RunSpecifiedBenchmarks();
}
