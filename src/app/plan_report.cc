#include "app/plan_report.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/topology.h"
#include "compute/cache/kv_cache.h"
#include "compute/layers/tensor_parallel.h"
#include "compute/weights/weight_store.h"
#include "config/config_loader.h"
#include "config/model_path.h"
#include "parallel/mesh.h"
#include "parallel/parallel_layout.h"
#include "plan/cache_capacity.h"

namespace phalanx {
namespace {

constexpr double kMiB = 1 << 20;
constexpr double kGiB = 1 << 30;

int Fail(const Status& status) {
  std::fprintf(stderr, "%s\n", status.message().c_str());
  return 1;
}

// The type of stored keys and values that the workers will choose.
KvFormat ChooseKvFormat(const ServeConfig& config, const ModelConfig& model) {
  const std::string& type = config.model.kv_cache_type;
  if (type == "auto")
    return model.dtype == "float32" || model.dtype == "F32" ? KvFormat::kF32 : KvFormat::kF16;
  return type == "f32" ? KvFormat::kF32 : KvFormat::kF16;
}

KvCacheShape RankCacheShape(const ServeConfig& config, const ModelConfig& model, int tp) {
  KvCacheShape shape;
  shape.num_layers = model.num_layers;
  shape.num_kv_heads = std::max(1, model.num_kv_heads / tp);
  shape.head_dim = model.head_dim;
  shape.block_size = config.schedule.cache_block_size;
  shape.format = ChooseKvFormat(config, model);
  return shape;
}

void PrintRanks(const ParallelLayout& layout, const MachineTopology& machine, int threads_per_rank) {
  const Mesh mesh(layout);
  const std::vector<RankPlacement> placements = AssignCores(machine, layout.world_size, threads_per_rank);
  std::printf("\n%-6s %-10s %-8s %-10s %s\n", "rank", "dp group", "tp rank", "CPUs", "NUMA node");
  for (int rank = 0; rank < layout.world_size; ++rank) {
    const RankPlacement& placement = placements[static_cast<size_t>(rank)];
    std::printf("%-6d %-10d %-8d %-10s %d\n", rank, mesh.DpGroup(rank), mesh.Coordinates(rank).attn_tp,
                FormatCpuList(placement.cpus).c_str(), placement.numa_node);
  }
}

Status PrintMemory(const ServeConfig& config, const ParallelLayout& layout, const MachineTopology& machine,
                   const WeightStore& store) {
  const ModelConfig& model = store.config();
  const KvCacheShape shape = RankCacheShape(config, model, layout.attn_tp);
  CacheCapacityInput input;
  input.block_bytes = static_cast<int64_t>(shape.block_bytes());
  input.block_size = shape.block_size;
  input.num_ranks = layout.world_size;
  input.dp = layout.attn_dp;
  input.kv_bytes_per_rank = config.model.npu_mem_size < 0 ? -1 : int64_t{config.model.npu_mem_size} << 30;
  input.available_bytes = machine.available_memory_bytes;
  input.memory_fraction = config.environment.npu_memory_fraction;
  input.weight_bytes = static_cast<int64_t>(store.packed_bytes()) * machine.num_numa_nodes;
  input.max_batch_size = config.schedule.max_batch_size;
  input.max_seq_len = std::min<int64_t>(config.deploy.max_seq_len, model.max_position);
  ASSIGN_OR_RETURN(const CacheCapacity capacity, ComputeCacheCapacity(input));

  const int64_t tokens = capacity.blocks_per_group * shape.block_size;
  std::printf("\nweights          %.1f MiB, one copy per NUMA node, mapped by all ranks there\n",
              static_cast<double>(store.packed_bytes()) / kMiB);
  std::printf("keys and values  %.2f MiB per block of %d tokens and rank (%s)\n",
              static_cast<double>(shape.block_bytes()) / kMiB, shape.block_size,
              shape.format == KvFormat::kF32 ? "f32" : "f16");
  std::printf(
      "                 %" PRId64 " blocks per dp group: %" PRId64
      " tokens, at most %.2f GiB per rank, taken as it is used\n",
      capacity.blocks_per_group, tokens,
      static_cast<double>(capacity.blocks_per_group) * static_cast<double>(shape.block_bytes()) / kGiB);
  std::printf("capacity         %" PRId64 " tokens over all groups; a sequence may have %" PRId64
              " (maxSeqLen)\n",
              tokens * layout.attn_dp, input.max_seq_len);
  if (capacity.exceeds_memory)
    std::printf("warning          npuMemSize asks for more memory than is available now\n");
  return Status::Ok();
}

}  // namespace

int RunPlan(const std::string& config_path, const std::string& executable_path) {
  const Environment environment = Environment::OfProcess();
  std::error_code ignored;
  const std::filesystem::path own = std::filesystem::canonical("/proc/self/exe", ignored);
  const Result<LoadedConfig> loaded = LoadServeConfig(
      FindConfigFile(config_path, own.empty() ? executable_path : own.string(), environment), environment,
      {[](const ServeConfig& config) { return ParallelLayout::Create(config.model).status(); },
       [](const ServeConfig& config) { return ResolveModelPath(config.model.model_weight_path).status(); }});
  if (!loaded.ok()) return Fail(loaded.status());
  const ServeConfig& config = loaded->config;
  const ParallelLayout layout = *ParallelLayout::Create(config.model);
  const Result<std::unique_ptr<WeightStore>> store =
      WeightStore::Open(ResolveModelPath(config.model.model_weight_path)->path);
  if (!store.ok()) return Fail(store.status());
  const ModelConfig& model = (*store)->config();
  if (const Status status = CheckTensorParallel(model, layout.attn_tp); !status.ok()) return Fail(status);
  const Result<MachineTopology> machine = ReadTopology();
  if (!machine.ok()) return Fail(machine.status());

  std::printf("configuration    %s: %s\n", loaded->path.c_str(), layout.ToString().c_str());
  std::printf("model            %s: %s %s, %d layers, hidden size %" PRId64
              ", %d heads (%d key/value), context %" PRId64 "\n",
              config.model.model_name.c_str(), model.architecture.c_str(), model.dtype.c_str(),
              model.num_layers, model.hidden_size, model.num_heads, model.num_kv_heads, model.max_position);
  std::printf("machine          %s\n", machine->ToString().c_str());
  PrintRanks(layout, *machine, config.model.threads_per_rank);
  if (const Status status = PrintMemory(config, layout, *machine, **store); !status.ok()) return Fail(status);
  for (const std::string& warning : loaded->warnings) std::printf("warning          %s\n", warning.c_str());
  return 0;
}

}  // namespace phalanx
