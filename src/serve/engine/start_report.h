#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/topology.h"

namespace phalanx {

// What was started.
struct StartReport {
  struct RankLine {
    int rank = 0, group = 0, group_rank = 0;
    int pid = 0;
    std::vector<int> cpus;  // that its threads may really run on
    int num_threads = 1;
    int numa_node = 0;
    bool placed = true;  // on the cores that were meant
  };
  MachineTopology machine;
  std::vector<RankLine> ranks;
  std::string architecture, dtype, kernel_table;
  int64_t weight_bytes = 0;    // of one copy
  int num_weight_copies = 1;   // one per NUMA node with ranks; shared by the ranks there
  std::string weight_pages;    // which pages were had, and how to get better ones
  int64_t kv_block_bytes = 0;  // of one rank's plane
  int64_t blocks_per_group = 0;
  int32_t block_size = 0;
  std::vector<std::string> warnings;

  // One line per rank and a few about memory.
  std::vector<std::string> Lines() const;
};

}  // namespace phalanx
