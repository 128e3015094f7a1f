#pragma once

#include "compute/kernels/kernel_args.h"

// The kernels of the instruction set PHX_ISA (defined by its vec.h, which comes
// first).
namespace phalanx::PHX_ISA {

void MatMul(const MatMulArgs& args);
void QuantizeRow(const float* x, int64_t k, int64_t row, const QuantizedRows& out);
void RmsNorm(const float* x, const float* w, float eps, int64_t n, float* out);
void AddTo(const float* x, int64_t n, float* y);
void SiluMul(const float* gate, const float* up, int64_t n, float* out);
void Rope(float* x, int half, bool interleaved, const float* cos_sin);
void StoreKv(const StoreKvArgs& args);
void Attention(const AttentionArgs& args);
RowMax FindRowMax(const float* x, int64_t n);
float SumExp(const float* x, int64_t n, float max);

}  // namespace phalanx::PHX_ISA
