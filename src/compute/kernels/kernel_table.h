#pragma once

#include <string_view>
#include <vector>

#include "base/status.h"
#include "compute/kernels/kernel_args.h"

namespace phalanx {

// Every table that this build has, best first; including those that this CPU lacks.
std::vector<std::string_view> KernelTableNames();
// Whether this CPU and operating system can run the table.
bool KernelTableRuns(std::string_view name);
// `name` empty: the best that runs here. NotFound for an unknown name, Unimplemented (naming the missing CPU
// feature) for one that this CPU lacks. The tables live as long as the program.
Result<const KernelTable*> SelectKernels(std::string_view name);

}  // namespace phalanx
