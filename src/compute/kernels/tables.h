#pragma once

#include "compute/kernels/kernel_args.h"

// The tables themselves: one per folder beside this file, each made by its table.cc.
namespace phalanx {

namespace reference {
extern const KernelTable kTable;
}
namespace avx2 {
extern const KernelTable kTable;
}
namespace avx512 {
extern const KernelTable kTable;
}

}  // namespace phalanx
