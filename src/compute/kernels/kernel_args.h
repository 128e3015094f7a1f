#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "compute/kernels/packed_matrix.h"

// Plain structs only: the files that are compiled for one instruction set include this and nothing of ours
// that has code, so that no function shared with other files is ever compiled for a CPU that may lack that
// instruction set.
namespace phalanx {

// All kernels are free functions on plain structs: no allocation, no threads of their own (the caller gives
// the range of work), no state. They are defined as arithmetic on 16 lanes in a stated order, so that every
// table gives the same bits: `reference` spells the order out in plain loops and is the oracle of the others.
// What a row's result is never depends on how many rows, columns or threads come along.
inline constexpr int kLanes = 16;

// Rows of activations, quantised for the block formats (Q8_0, Q4_0, Q4_1): per row and group of 32 elements
// one scale. q = round-to-nearest-even(x / scale) with scale = max|x| / 127 (0 for a group of zeros).
struct QuantizedRows {
  int8_t* q;       // [rows, k], row stride = k
  float* scale;    // [rows, k / 32]
  int32_t* sum_q;  // [rows, k / 32], sum of q over the group
  float* sum;      // [rows, k / 32], scale * sum_q
};

// out[r, c - n_begin] = sum over k in [k_begin, k_end) of x[r, k - k_begin] * w[c, k], for c in [n_begin,
// n_end). The sum is a balanced binary tree over `segments` equal parts of [k_begin, k_end); each part is
// summed in fp32 in order of k (float formats: one fused multiply-add per k; block formats: per group of 32,
// exact int32 dot product, then acc = fma(float(dot), w_scale * x_scale, acc), Q4_1 then acc = fma(w_min,
// x_sum, acc)).
struct MatMulArgs {
  PackedMatrix w;
  int64_t rows = 0;
  const float* x = nullptr;  // float formats: [rows, k_end - k_begin], row stride x_stride
  int64_t x_stride = 0;
  QuantizedRows xq = {};           // block formats: k of the struct = k_end - k_begin
  int64_t n_begin = 0, n_end = 0;  // any range; whole panels are computed, only the range is stored
  int64_t k_begin = 0, k_end = 0;  // whole groups for block formats
  int segments = 1;                // 1, 2, 4 or 8; divides (k_end - k_begin), block formats: in whole groups
  float* out = nullptr;            // [rows, n_end - n_begin], row stride out_stride
  int64_t out_stride = 0;
};

// How keys and values of one token are stored.
enum class KvFormat : uint8_t { kF32, kF16 };  // kF16 saturates at +-65504
constexpr size_t KvBytes(KvFormat f) {
  return f == KvFormat::kF32 ? 4 : 2;
}

// One block of the cache, for one layer and one key/value head, is a "page head":
//   keys   [ceil(block_size / 16)][head_dim][16]   (16 tokens in the lanes; token t of the block: tile t /
//   16, lane t % 16) values [block_size][head_dim]
// keys first, then values.
constexpr size_t KvPageHeadElements(int block_size, int head_dim) {
  return static_cast<size_t>((block_size + 15) / 16 * 16 + block_size) * static_cast<size_t>(head_dim);
}

// Writes one token's key and value of one key/value head into a page head at token index `slot_in_block`.
struct StoreKvArgs {
  const float* key;    // [head_dim], already rotated
  const float* value;  // [head_dim]
  void* page_head;
  KvFormat format;
  int slot_in_block, block_size, head_dim;
};

// Attention of one sequence's query rows over its own blocks, for one key/value head and the query heads that
// share it. Row r has position first_position + r and sees keys at positions (p - window, p] (window 0: [0,
// p]). For each row and head: for each block in order (blocks wholly outside the window are skipped): scores
// = scale * q.k (fma chain over head_dim), block maximum, running maximum, p = Exp(score - maximum), sum in
// 16 lanes per tile then tiles in order then the fixed lane tree, output = output * alpha + sum over tokens
// in order of p * v; at the end output / sum.
struct AttentionArgs {
  const float* q;  // row r, head h: q + r * q_stride + h * head_dim
  int64_t q_stride;
  float* out;  // row r, head h: out + r * out_stride + h * head_dim
  int64_t out_stride;
  int rows;
  int heads;  // query heads of this key/value head
  int head_dim;
  int64_t first_position;
  int64_t window;  // 0: none
  float scale;
  KvFormat format;
  int block_size;
  const int32_t* block_table;  // block ids of the sequence, block_table[p / block_size]
  const std::byte* pages;      // page head of block b at pages + b * page_stride
  int64_t page_stride;         // bytes
  float* scratch;              // AttentionScratchFloats(...) floats of the calling thread
};
constexpr size_t AttentionScratchFloats(int block_size, int head_dim, int heads) {
  return static_cast<size_t>(16 * heads) * static_cast<size_t>((block_size + 15) / 16 * 16 + head_dim + 32);
}

// The best logit: the largest value, the lowest index on ties.
struct RowMax {
  float value;
  int32_t index;
};

// One instruction set's kernels.
struct KernelTable {
  std::string_view name;  // "reference", "avx2", "avx512"

  // Requires what MatMulArgs says; rows >= 0 (0: nothing happens).
  void (*mat_mul)(const MatMulArgs& args);
  // x [k], k a multiple of 32 -> row `row` of out.
  void (*quantize_row)(const float* x, int64_t k, int64_t row, const QuantizedRows& out);
  // Row `column` of the weight (one column of a panel) as floats: out [w.k]. The embedding lookup.
  void (*unpack_row)(const PackedMatrix& w, int64_t column, float* out);

  // out[i] = w[i] * (x[i] / sqrt(mean(x^2) + eps)); sum of squares in 16 lanes (lane i % 16), then the lane
  // tree. out may be x.
  void (*rms_norm)(const float* x, const float* w, float eps, int64_t n, float* out);
  // y[i] += x[i]
  void (*add)(const float* x, int64_t n, float* y);
  // out[i] = silu(gate[i]) * up[i], silu(z) = z / (1 + Exp(-z)). out may be gate.
  void (*silu_mul)(const float* gate, const float* up, int64_t n, float* out);
  // Rotates one head in place: x [head_dim], the first 2 * half elements; pairs (i, i + half), or (2i, 2i +
  // 1) if interleaved. cos_sin: [2][half], cos then sin.
  void (*rope)(float* x, int half, bool interleaved, const float* cos_sin);

  void (*store_kv)(const StoreKvArgs& args);
  void (*attention)(const AttentionArgs& args);

  RowMax (*row_max)(const float* x, int64_t n);
  // Sum of Exp(x[i] - max) over n, in 16 lanes, then the lane tree.
  float (*sum_exp)(const float* x, int64_t n, float max);
};

}  // namespace phalanx
