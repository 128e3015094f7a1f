#include "serve/engine/start_report.h"

#include <cstdio>

namespace phalanx {
namespace {

std::string Bytes(int64_t bytes) {
  char text[32];
  if (bytes >= int64_t{1} << 30) {
    std::snprintf(text, sizeof(text), "%.2f GiB", static_cast<double>(bytes) / (1 << 30));
  } else {
    std::snprintf(text, sizeof(text), "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  }
  return text;
}

}  // namespace

std::vector<std::string> StartReport::Lines() const {
  std::vector<std::string> lines;
  lines.push_back("machine: " + machine.ToString());
  lines.push_back("model: " + architecture + ", " + dtype + ", kernels " + kernel_table);
  for (const RankLine& rank : ranks) {
    lines.push_back("rank " + std::to_string(rank.rank) + ": process " + std::to_string(rank.pid) +
                    ", dp group " + std::to_string(rank.group) + ", tp rank " +
                    std::to_string(rank.group_rank) + ", " + std::to_string(rank.num_threads) +
                    (rank.num_threads == 1 ? " thread" : " threads") + " on CPU " + FormatCpuList(rank.cpus) +
                    ", NUMA node " + std::to_string(rank.numa_node));
  }
  lines.push_back("weights: " + Bytes(weight_bytes) + ", " + std::to_string(num_weight_copies) +
                  (num_weight_copies == 1 ? " copy for all ranks, " : " copies (one per NUMA node), ") +
                  weight_pages);
  lines.push_back("keys and values: " + std::to_string(blocks_per_group) + " blocks of " +
                  std::to_string(block_size) + " tokens per dp group, " +
                  Bytes(kv_block_bytes * blocks_per_group) + " per rank, taken as they are used");
  return lines;
}

}  // namespace phalanx
