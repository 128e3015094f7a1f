#include "compute/kernels/kernel_table.h"

#include <gtest/gtest.h>

#include <string>

namespace phalanx {
namespace {

TEST(KernelTable, BestComesFirstAndIsChosen) {
  const auto names = KernelTableNames();
  ASSERT_FALSE(names.empty());
  EXPECT_EQ(names.back(), "reference");
  for (const std::string_view name : names) {
    if (!KernelTableRuns(name)) continue;
    EXPECT_EQ(SelectKernels("").value()->name, name);
    break;
  }
}

TEST(KernelTable, EveryNameIsFoundOrSaysWhatTheCpuLacks) {
  for (const std::string_view name : KernelTableNames()) {
    const auto table = SelectKernels(name);
    if (KernelTableRuns(name)) {
      ASSERT_TRUE(table.ok());
      EXPECT_EQ(table.value()->name, name);
    } else {
      EXPECT_EQ(table.status().code(), StatusCode::kUnimplemented);
      EXPECT_NE(table.status().message().find("CPU feature"), std::string::npos);
    }
  }
}

TEST(KernelTable, EveryKernelIsThere) {
  for (const std::string_view name : KernelTableNames()) {
    if (!KernelTableRuns(name)) continue;
    const KernelTable& table = *SelectKernels(name).value();
    EXPECT_TRUE(table.mat_mul && table.quantize_row && table.unpack_row && table.rms_norm && table.add &&
                table.silu_mul && table.rope && table.store_kv && table.attention && table.row_max &&
                table.sum_exp)
        << name;
  }
}

TEST(KernelTable, AnUnknownNameIsNotFound) {
  const auto table = SelectKernels("sse9");
  EXPECT_EQ(table.status().code(), StatusCode::kNotFound);
  EXPECT_NE(table.status().message().find("reference"), std::string::npos);
  EXPECT_FALSE(KernelTableRuns("sse9"));
}

}  // namespace
}  // namespace phalanx
