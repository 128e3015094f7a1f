#include "compute/kernels/kernel_table.h"

#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "compute/kernels/tables.h"

namespace phalanx {
namespace {

// The first feature of the table's list that this CPU or operating system lacks; empty if it has all.
// __builtin_cpu_supports also asks the operating system whether it saves the wide registers.
std::string_view NothingMissing() {
  return {};
}

#if defined(__x86_64__)
#define PHX_REQUIRE_CPU(feature) \
  if (!__builtin_cpu_supports(feature)) return feature

// Not every compiler knows this one by name. The operating system's part is that of AVX.
bool HasF16c() {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

std::string_view MissingForAvx2() {
  PHX_REQUIRE_CPU("avx2");
  PHX_REQUIRE_CPU("fma");
  if (!HasF16c()) return "f16c";
  return {};
}

std::string_view MissingForAvx512() {
  const std::string_view missing = MissingForAvx2();
  if (!missing.empty()) return missing;
  PHX_REQUIRE_CPU("avx512f");
  PHX_REQUIRE_CPU("avx512bw");
  PHX_REQUIRE_CPU("avx512dq");
  PHX_REQUIRE_CPU("avx512vl");
  PHX_REQUIRE_CPU("avx512vnni");
  return {};
}

#undef PHX_REQUIRE_CPU
#endif

struct TableEntry {
  const KernelTable* table;
  std::string_view (*missing_feature)();
};

// Best first.
const TableEntry kTables[] = {
#if defined(__x86_64__)
    {&avx512::kTable, MissingForAvx512},
    {&avx2::kTable, MissingForAvx2},
#endif
    {&reference::kTable, NothingMissing},
};

const TableEntry* Find(std::string_view name) {
  for (const TableEntry& entry : kTables) {
    if (entry.table->name == name) return &entry;
  }
  return nullptr;
}

std::string JoinedNames() {
  std::string names;
  for (const TableEntry& entry : kTables) {
    if (!names.empty()) names += ", ";
    names += entry.table->name;
  }
  return names;
}

}  // namespace

std::vector<std::string_view> KernelTableNames() {
  std::vector<std::string_view> names;
  for (const TableEntry& entry : kTables) names.push_back(entry.table->name);
  return names;
}

bool KernelTableRuns(std::string_view name) {
  const TableEntry* entry = Find(name);
  return entry != nullptr && entry->missing_feature().empty();
}

Result<const KernelTable*> SelectKernels(std::string_view name) {
  if (name.empty()) {
    for (const TableEntry& entry : kTables) {
      if (entry.missing_feature().empty()) return entry.table;
    }
  }
  const TableEntry* entry = Find(name);
  if (entry == nullptr) {
    return NotFound("kernel table \"" + std::string(name) + "\" is unknown; this build has " + JoinedNames());
  }
  const std::string_view missing = entry->missing_feature();
  if (!missing.empty()) {
    return Unimplemented("kernel table \"" + std::string(name) + "\" needs the CPU feature " +
                         std::string(missing) + ", which this CPU or operating system lacks");
  }
  return entry->table;
}

}  // namespace phalanx
