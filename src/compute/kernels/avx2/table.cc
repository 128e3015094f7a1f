#include "compute/kernels/avx2/vec.h"
// The kernels of this instruction set:
#include "compute/kernels/simd/table.h"

PHX_KERNEL_TABLE("avx2")
