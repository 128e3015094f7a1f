#pragma once

#include "compute/kernels/kernel_args.h"

// Every kernel in plain loops: what the other tables must equal bit for bit.
namespace phalanx::reference {

float Exp(float x);                            // see exp_constants.h
float SumLanes(const float (&lanes)[kLanes]);  // the lane tree: halves are added to halves, 8, 4, 2, 1

void MatMul(const MatMulArgs& args);
void QuantizeRow(const float* x, int64_t k, int64_t row, const QuantizedRows& out);
void UnpackRow(const PackedMatrix& w, int64_t column, float* out);
void RmsNorm(const float* x, const float* w, float eps, int64_t n, float* out);
void Add(const float* x, int64_t n, float* y);
void SiluMul(const float* gate, const float* up, int64_t n, float* out);
void Rope(float* x, int half, bool interleaved, const float* cos_sin);
void StoreKv(const StoreKvArgs& args);
void Attention(const AttentionArgs& args);
RowMax FindRowMax(const float* x, int64_t n);
float SumExp(const float* x, int64_t n, float max);

}  // namespace phalanx::reference
