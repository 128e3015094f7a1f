#include "compute/kernels/avx512/vec.h"
// The code over these vectors:
#include "compute/kernels/simd/attention.h"
