#include "compute/kernels/avx512/vec.h"
// The kernels of this instruction set:
#include "compute/kernels/simd/table.h"

PHX_KERNEL_TABLE("avx512")
