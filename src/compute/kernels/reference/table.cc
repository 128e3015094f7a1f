#include "compute/kernels/reference/kernels.h"
#include "compute/kernels/tables.h"

namespace phalanx::reference {

constinit const KernelTable kTable = {
    .name = "reference",
    .mat_mul = MatMul,
    .quantize_row = QuantizeRow,
    .unpack_row = UnpackRow,
    .rms_norm = RmsNorm,
    .add = Add,
    .silu_mul = SiluMul,
    .rope = Rope,
    .store_kv = StoreKv,
    .attention = Attention,
    .row_max = FindRowMax,
    .sum_exp = SumExp,
};

}  // namespace phalanx::reference
