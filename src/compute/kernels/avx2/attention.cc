#include "compute/kernels/avx2/vec.h"
// The code over these vectors:
#include "compute/kernels/simd/attention.h"
