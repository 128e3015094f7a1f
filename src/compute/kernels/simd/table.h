#pragma once

#include "compute/kernels/reference/kernels.h"
#include "compute/kernels/simd/kernels.h"
#include "compute/kernels/tables.h"

// The table of the instruction set PHX_ISA. Unpacking a row is a walk over
// memory, so that plain loops are its best form.
#define PHX_KERNEL_TABLE(table_name)                                        \
  namespace phalanx::PHX_ISA {                                              \
  constinit const KernelTable kTable = {.name = table_name,                 \
                                        .mat_mul = MatMul,                  \
                                        .quantize_row = QuantizeRow,        \
                                        .unpack_row = reference::UnpackRow, \
                                        .rms_norm = RmsNorm,                \
                                        .add = AddTo,                       \
                                        .silu_mul = SiluMul,                \
                                        .rope = Rope,                       \
                                        .store_kv = StoreKv,                \
                                        .attention = Attention,             \
                                        .row_max = FindRowMax,              \
                                        .sum_exp = SumExp};                 \
  }
