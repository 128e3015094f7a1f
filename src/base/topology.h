#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace phalanx {

// A core that this process may use. Its hardware threads share the arithmetic, so one is enough for us.
struct CpuCore {
  int cpu = 0;        // logical CPU: the core's first allowed hardware thread
  int numa_node = 0;  // operating system's index
};

// The part of the machine that this process may use: affinity, cpuset and the control group's limits are
// applied.
struct MachineTopology {
  std::vector<CpuCore> cores;  // by NUMA node, then by CPU; at least one
  int num_numa_nodes = 1;      // that have one of these cores
  int64_t total_memory_bytes = 0;
  int64_t available_memory_bytes = 0;  // at the time of the call, without swapping

  // "8 cores on 2 NUMA nodes, 62.5 GiB of memory, 58.1 GiB available".
  std::string ToString() const;
};

Result<MachineTopology> ReadTopology();

// Where one rank runs.
struct RankPlacement {
  std::vector<int> cpus;  // one per thread
  int numa_node = 0;      // of the first
};

// Contiguous cores for each rank, max(1, cores / ranks) threads unless `threads_per_rank` > 0 bounds them
// further. More ranks than cores: one thread each, round robin over the cores. A rank's cores lie on one NUMA
// node where that costs no thread. Requires: num_ranks > 0, at least one core.
std::vector<RankPlacement> AssignCores(const MachineTopology& topology, int num_ranks,
                                       int threads_per_rank = 0);

// The CPUs that the calling thread may run on now.
std::vector<int> AffinityOfThisThread();

// "0-3,8" for {0, 1, 2, 3, 8}; the order does not matter.
std::string FormatCpuList(std::vector<int> cpus);

// Bytes that can still be allocated: MemAvailable, or what the control group has left if that is less.
int64_t AvailableMemoryBytes();

}  // namespace phalanx
