#include "base/topology.h"

#include <hwloc.h>
#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string_view>

#include "base/check.h"
#include "base/file.h"

namespace phalanx {
namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

struct TopologyDeleter {
  void operator()(hwloc_topology* topology) const { hwloc_topology_destroy(topology); }
};

std::optional<int64_t> ParseNumber(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

// The number in bytes behind "MemTotal:" and the like.
int64_t MemInfoBytes(std::string_view mem_info, std::string_view field) {
  const size_t at = mem_info.find(field);
  if (at == std::string_view::npos) return 0;
  const size_t digits = mem_info.find_first_of("0123456789", at);
  if (digits == std::string_view::npos) return 0;
  return ParseNumber(mem_info.substr(digits)).value_or(0) << 10;
}

// The folders of this process's control group (version 2) and of its parents, innermost first.
std::vector<std::string> ControlGroupFolders() {
  const Result<std::string> text = ReadFile("/proc/self/cgroup", 1 << 16);
  if (!text.ok()) return {};
  const size_t at = text->rfind("0::/");
  if (at == std::string::npos) return {};
  std::string path = text->substr(at + 3, text->find('\n', at) - at - 3);
  std::vector<std::string> folders;
  while (path.size() > 1) {
    folders.push_back("/sys/fs/cgroup" + path);
    path.erase(path.rfind('/'));
  }
  folders.push_back("/sys/fs/cgroup");
  return folders;
}

int64_t ReadNumber(const std::string& path, int64_t otherwise) {
  const Result<std::string> text = ReadFile(path, 4096);
  return text.ok() ? ParseNumber(*text).value_or(otherwise) : otherwise;
}

struct MemoryLimit {
  int64_t limit = kUnlimited;
  int64_t available = kUnlimited;
};

MemoryLimit ControlGroupMemory() {
  MemoryLimit result;
  for (const std::string& folder : ControlGroupFolders()) {
    const int64_t limit = ReadNumber(folder + "/memory.max", kUnlimited);
    if (limit == kUnlimited) continue;
    int64_t used = ReadNumber(folder + "/memory.current", 0);
    // Page cache counts as used there, but the system takes it back when it needs it.
    if (const Result<std::string> stat = ReadFile(folder + "/memory.stat", 1 << 16); stat.ok()) {
      const size_t at = stat->find("inactive_file ");
      if (at != std::string::npos) used -= ParseNumber(std::string_view(*stat).substr(at + 14)).value_or(0);
    }
    result.limit = std::min(result.limit, limit);
    result.available = std::min(result.available, std::max<int64_t>(0, limit - used));
  }
  return result;
}

// Processors that the control group's quota is worth; rounded up.
int64_t ControlGroupCpus() {
  int64_t cpus = kUnlimited;
  for (const std::string& folder : ControlGroupFolders()) {
    const Result<std::string> text = ReadFile(folder + "/cpu.max", 256);
    if (!text.ok()) continue;
    const std::optional<int64_t> quota = ParseNumber(*text);
    const size_t space = text->find(' ');
    if (!quota || space == std::string::npos) continue;
    const int64_t period = ParseNumber(std::string_view(*text).substr(space + 1)).value_or(0);
    if (period > 0) cpus = std::min(cpus, std::max<int64_t>(1, (*quota + period - 1) / period));
  }
  return cpus;
}

int NodeOf(hwloc_topology_t topology, hwloc_obj_t pu) {
  for (hwloc_obj_t node = nullptr;
       (node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != nullptr;) {
    if (hwloc_bitmap_isset(node->cpuset, pu->os_index) != 0) return static_cast<int>(node->os_index);
  }
  return 0;
}

std::vector<CpuCore> AllowedCores(hwloc_topology_t topology) {
  const std::vector<int> affinity = AffinityOfThisThread();
  const std::set<int> allowed(affinity.begin(), affinity.end());
  std::set<hwloc_obj_t> seen;
  std::vector<CpuCore> cores;
  for (hwloc_obj_t pu = nullptr; (pu = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_PU, pu)) != nullptr;) {
    if (!allowed.contains(static_cast<int>(pu->os_index))) continue;
    hwloc_obj_t const core = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_CORE, pu);
    if (core != nullptr && !seen.insert(core).second) continue;
    cores.push_back({static_cast<int>(pu->os_index), NodeOf(topology, pu)});
  }
  if (cores.empty()) {
    for (const int cpu : affinity) cores.push_back({cpu, 0});
  }
  std::sort(cores.begin(), cores.end(), [](const CpuCore& a, const CpuCore& b) {
    return a.numa_node != b.numa_node ? a.numa_node < b.numa_node : a.cpu < b.cpu;
  });
  return cores;
}

std::string Gibibytes(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f GiB", static_cast<double>(bytes) / (1 << 30));
  return text;
}

// Ranks shared out over the nodes in proportion to their cores, at least as many threads each as a plain
// split gives; empty if that is impossible.
std::vector<RankPlacement> AssignWithinNodes(const MachineTopology& topology, int num_ranks, int threads) {
  std::map<int, std::vector<int>> nodes;
  for (const CpuCore& core : topology.cores) nodes[core.numa_node].push_back(core.cpu);
  std::vector<RankPlacement> placements;
  for (const auto& [node, cpus] : nodes) {
    for (size_t first = 0; first + static_cast<size_t>(threads) <= cpus.size();
         first += static_cast<size_t>(threads)) {
      if (static_cast<int>(placements.size()) == num_ranks) return placements;
      const auto begin = cpus.begin() + static_cast<std::ptrdiff_t>(first);
      placements.push_back({{begin, begin + threads}, node});
    }
  }
  if (static_cast<int>(placements.size()) < num_ranks) placements.clear();
  return placements;
}

}  // namespace

std::string MachineTopology::ToString() const {
  return std::to_string(cores.size()) + (cores.size() == 1 ? " core on " : " cores on ") +
         std::to_string(num_numa_nodes) + (num_numa_nodes == 1 ? " NUMA node, " : " NUMA nodes, ") +
         Gibibytes(total_memory_bytes) + " of memory, " + Gibibytes(available_memory_bytes) + " available";
}

Result<MachineTopology> ReadTopology() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return ErrnoStatus("hwloc cannot start");
  const std::unique_ptr<hwloc_topology, TopologyDeleter> topology(raw);
  if (hwloc_topology_load(raw) != 0) return ErrnoStatus("hwloc cannot read the machine's topology");

  MachineTopology result;
  result.cores = AllowedCores(raw);
  if (result.cores.empty()) return Internal("no processor is allowed to this process");
  const int64_t quota = ControlGroupCpus();
  if (static_cast<int64_t>(result.cores.size()) > quota) result.cores.resize(static_cast<size_t>(quota));
  std::set<int> nodes;
  for (const CpuCore& core : result.cores) nodes.insert(core.numa_node);
  result.num_numa_nodes = static_cast<int>(nodes.size());

  ASSIGN_OR_RETURN(const std::string mem_info, ReadFile("/proc/meminfo", 1 << 16));
  result.total_memory_bytes = std::min(MemInfoBytes(mem_info, "MemTotal:"), ControlGroupMemory().limit);
  result.available_memory_bytes = AvailableMemoryBytes();
  return result;
}

std::vector<RankPlacement> AssignCores(const MachineTopology& topology, int num_ranks, int threads_per_rank) {
  CHECK(num_ranks > 0 && !topology.cores.empty());
  const int num_cores = static_cast<int>(topology.cores.size());
  int threads = std::max(1, num_cores / num_ranks);
  if (threads_per_rank > 0) threads = std::min(threads, threads_per_rank);
  std::vector<RankPlacement> placements = AssignWithinNodes(topology, num_ranks, threads);
  if (!placements.empty()) return placements;
  for (int rank = 0; rank < num_ranks; ++rank) {
    RankPlacement placement;
    for (int thread = 0; thread < threads; ++thread) {
      const CpuCore& core = topology.cores[static_cast<size_t>((rank * threads + thread) % num_cores)];
      if (thread == 0) placement.numa_node = core.numa_node;
      placement.cpus.push_back(core.cpu);
    }
    placements.push_back(std::move(placement));
  }
  return placements;
}

std::vector<int> AffinityOfThisThread() {
  // The kernel refuses a set that is smaller than its own: grow until it fits.
  for (int num_cpus = 1024; num_cpus <= 1 << 20; num_cpus *= 2) {
    const size_t bytes = CPU_ALLOC_SIZE(num_cpus);
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(CPU_ALLOC(num_cpus),
                                                               [](cpu_set_t* p) { CPU_FREE(p); });
    CPU_ZERO_S(bytes, set.get());
    if (::sched_getaffinity(0, bytes, set.get()) != 0) continue;
    std::vector<int> cpus;
    for (int cpu = 0; cpu < num_cpus; ++cpu) {
      if (CPU_ISSET_S(static_cast<size_t>(cpu), bytes, set.get())) cpus.push_back(cpu);
    }
    return cpus;
  }
  return {};
}

std::string FormatCpuList(std::vector<int> cpus) {
  std::sort(cpus.begin(), cpus.end());
  cpus.erase(std::unique(cpus.begin(), cpus.end()), cpus.end());
  std::string text;
  for (size_t i = 0; i < cpus.size();) {
    size_t last = i;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    if (!text.empty()) text += ',';
    text += std::to_string(cpus[i]);
    if (last > i) text += (last == i + 1 ? "," : "-") + std::to_string(cpus[last]);
    i = last + 1;
  }
  return text;
}

int64_t AvailableMemoryBytes() {
  const Result<std::string> mem_info = ReadFile("/proc/meminfo", 1 << 16);
  const int64_t available = mem_info.ok() ? MemInfoBytes(*mem_info, "MemAvailable:") : 0;
  return std::min(available, ControlGroupMemory().available);
}

}  // namespace phalanx
