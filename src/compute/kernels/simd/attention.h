#pragma once

#include "compute/kernels/simd/counted.h"
#include "compute/kernels/simd/exp.h"
#include "compute/kernels/simd/kernels.h"

// Attention over paged keys and values, written once over a vector of 16 lanes
// and compiled for each instruction set in its own namespace. Included by the
// attention.cc of each, after its vec.h.
//
// Up to kRowsPerPass query rows walk over the blocks together. A "query" is one
// row and head; the queries of a pass are numbered row by row, and those that
// see something of a block are a range, because what a row sees only moves
// forward from row to row. Keys are read once per kScoreRows queries and values
// once per kValueRows. Each query's own arithmetic is what the reference does
// for it alone, in the same order.
namespace phalanx::PHX_ISA {
namespace {

constexpr int kRowsPerPass = 16;

// Tokens of one block, counted within it.
struct TokenRange {
  int begin, end;
};

// One pass over the blocks of a sequence; T is float or uint16_t (binary16).
template <class T>
struct Pass {
  const AttentionArgs& args;
  int first_row;
  int rows;
  int padded_tokens;  // of a block
  int padded_dim;
  float* weights;  // [queries][padded_tokens]: scores, then their exponentials
  float* outputs;  // [queries][padded_dim]
  float* maxima;   // [queries]
  float* sums;     // [queries]

  int64_t SeenEnd(int row) const { return args.first_position + first_row + row + 1; }
  int64_t SeenBegin(int row) const {
    const int64_t begin = SeenEnd(row) - args.window;
    return args.window > 0 && begin > 0 ? begin : 0;
  }
  // What `row` sees of the block that begins at `position`; begin >= end:
  // nothing.
  TokenRange Seen(int row, int64_t position) const {
    const int64_t begin = SeenBegin(row) - position;
    const int64_t end = SeenEnd(row) - position;
    return {static_cast<int>(begin > 0 ? begin : 0),
            static_cast<int>(end < args.block_size ? end : args.block_size)};
  }
  const float* Query(int query) const {
    return args.q + (first_row + query / args.heads) * args.q_stride +
           static_cast<int64_t>(query % args.heads) * args.head_dim;
  }
};

// Keys and then values of a block are one stream.
PHX_INLINE void PrefetchAhead(const void* p) {
  constexpr int kAheadBytes = 8192;
  _mm_prefetch(static_cast<const char*>(p) + kAheadBytes, _MM_HINT_T0);
}

// Scores of kRows queries from `query` on, for kTiles tiles of tokens.
template <int kRows, int kTiles, class T>
void Score(const Pass<T>& pass, int query, const T* keys, int tile) {
  const int head_dim = pass.args.head_dim;
  const T* k = keys + static_cast<int64_t>(tile) * head_dim * kLanes;
  const float* q[kRows];
  Vec acc[kRows][kTiles];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    q[r] = pass.Query(query + r);
#pragma GCC unroll 4
    for (int t = 0; t < kTiles; ++t) acc[r][t] = Zero();
  }
  for (int d = 0; d < head_dim; ++d) {
    Vec key[kTiles];
#pragma GCC unroll 4
    for (int t = 0; t < kTiles; ++t) {
      const T* from = k + (static_cast<int64_t>(t) * head_dim + d) * kLanes;
      key[t] = Load(from, Whole{});
      PrefetchAhead(from);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec x = Set(q[r][d]);
#pragma GCC unroll 4
      for (int t = 0; t < kTiles; ++t) acc[r][t] = Fma(x, key[t], acc[r][t]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    float* to = pass.weights + static_cast<int64_t>(query + r) * pass.padded_tokens + tile * kLanes;
#pragma GCC unroll 4
    for (int t = 0; t < kTiles; ++t) Store(to + t * kLanes, Mul(acc[r][t], Set(pass.args.scale)), Whole{});
  }
}

// Turns one query's scores into weights, and scales what the blocks before have
// given to the new maximum.
template <class T>
void Softmax(const Pass<T>& pass, int query, TokenRange seen) {
  float* weights = pass.weights + static_cast<int64_t>(query) * pass.padded_tokens;
  const int first = seen.begin / kLanes * kLanes;
  Vec max_lanes = Set(pass.maxima[query]);
  for (int t = first; t < seen.end; t += kLanes) {
    const Vec score =
        Select(LanesIn(seen.begin - t, seen.end - t), Load(weights + t, Whole{}), Set(-__builtin_inff()));
    Store(weights + t, score, Whole{});
    max_lanes = Max(score, max_lanes);
  }
  const float max = MaxLanes(max_lanes);
  const float alpha = FirstLane(Exp(Set(pass.maxima[query] - max)));
  Vec sum = Zero();
  for (int t = first; t < seen.end; t += kLanes) {
    const Vec weight = Exp(Sub(Load(weights + t, Whole{}), Set(max)));
    Store(weights + t, weight, Whole{});
    sum = Add(sum, weight);
  }
  pass.maxima[query] = max;
  pass.sums[query] = __builtin_fmaf(pass.sums[query], alpha, SumLanes(sum));
  float* output = pass.outputs + static_cast<int64_t>(query) * pass.padded_dim;
  for (int d = 0; d < pass.padded_dim; d += kLanes)
    Store(output + d, Mul(Load(output + d, Whole{}), Set(alpha)), Whole{});
}

// Adds the weighted values of `tokens` to elements [d, d + 16 * kVecs) of kRows
// outputs.
template <int kRows, int kVecs, class T, class Part>
void AddValues(const Pass<T>& pass, int query, const T* values, TokenRange tokens, int d, Part part) {
  float* output = pass.outputs + static_cast<int64_t>(query) * pass.padded_dim + d;
  const float* weights = pass.weights + static_cast<int64_t>(query) * pass.padded_tokens;
  Vec acc[kRows][kVecs];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) acc[r][v] = Load(output + r * pass.padded_dim + v * kLanes, Whole{});
  }
  for (int t = tokens.begin; t < tokens.end; ++t) {
    const T* from = values + static_cast<int64_t>(t) * pass.args.head_dim + d;
    Vec value[kVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      value[v] = Load(from + v * kLanes, part);
      PrefetchAhead(from + v * kLanes);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Vec weight = Set(weights[r * pass.padded_tokens + t]);
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) acc[r][v] = Fma(weight, value[v], acc[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) Store(output + r * pass.padded_dim + v * kLanes, acc[r][v], Whole{});
  }
}

// The same over all of head_dim.
template <int kRows, class T>
void AddValuesOfHead(const Pass<T>& pass, int query, const T* values, TokenRange tokens) {
  if (tokens.begin >= tokens.end) return;
  const int head_dim = pass.args.head_dim;
  int d = 0;
  while (d + kLanes <= head_dim) {
    const int left = (head_dim - d) / kLanes;
    const int vecs = left < kValueVecs ? left : kValueVecs;
    WithCount<kValueVecs>(
        vecs, [&](auto v) { AddValues<kRows, decltype(v)::value>(pass, query, values, tokens, d, Whole{}); });
    d += vecs * kLanes;
  }
  if (d < head_dim) AddValues<kRows, 1>(pass, query, values, tokens, d, First{head_dim - d});
}

// Queries [query, query + kRows): the tokens that all of them see together,
// those before and after one by one. Each query's tokens stay in order.
template <int kRows, class T>
void AddValuesOfQueries(const Pass<T>& pass, int query, const T* values, int64_t position) {
  TokenRange seen[kRows];
  for (int r = 0; r < kRows; ++r) seen[r] = pass.Seen((query + r) / pass.args.heads, position);
  TokenRange common = {seen[kRows - 1].begin, seen[0].end};
  if (common.begin >= common.end) common = {pass.padded_tokens, pass.padded_tokens};
  for (int r = 0; r < kRows; ++r) {
    const int end = common.begin < seen[r].end ? common.begin : seen[r].end;
    AddValuesOfHead<1>(pass, query + r, values, {seen[r].begin, end});
  }
  AddValuesOfHead<kRows>(pass, query, values, common);
  for (int r = 0; r < kRows; ++r) AddValuesOfHead<1>(pass, query + r, values, {common.end, seen[r].end});
}

// One block for the rows [row_begin, row_end) of the pass, all of which see
// something of it.
template <class T>
void AddBlock(const Pass<T>& pass, const T* page, int64_t position, int row_begin, int row_end) {
  const AttentionArgs& args = pass.args;
  const int query_end = row_end * args.heads;
  const int tile_begin = pass.Seen(row_begin, position).begin / kLanes;
  const int tile_end = (pass.Seen(row_end - 1, position).end + kLanes - 1) / kLanes;
  for (int tile = tile_begin; tile < tile_end;) {
    const int tiles = tile + kScoreTiles <= tile_end ? kScoreTiles : 1;
    for (int query = row_begin * args.heads; query < query_end; query += kScoreRows) {
      WithCount<kScoreRows>(query_end - query, [&](auto rows) {
        constexpr int kRows = decltype(rows)::value;
        if (tiles == kScoreTiles) {
          Score<kRows, kScoreTiles>(pass, query, page, tile);
        } else {
          Score<kRows, 1>(pass, query, page, tile);
        }
      });
    }
    tile += tiles;
  }
  for (int row = row_begin; row < row_end; ++row) {
    for (int h = 0; h < args.heads; ++h) Softmax(pass, row * args.heads + h, pass.Seen(row, position));
  }
  const T* values = page + static_cast<int64_t>(pass.padded_tokens) * args.head_dim;
  for (int query = row_begin * args.heads; query < query_end; query += kValueRows) {
    WithCount<kValueRows>(query_end - query, [&](auto rows) {
      AddValuesOfQueries<decltype(rows)::value>(pass, query, values, position);
    });
  }
}

template <class T>
void RunPass(const Pass<T>& pass) {
  const AttentionArgs& args = pass.args;
  const int queries = pass.rows * args.heads;
  for (int i = 0; i < queries; ++i) {
    pass.maxima[i] = -__builtin_inff();
    pass.sums[i] = 0;
  }
  for (int i = 0; i < queries * pass.padded_dim; i += kLanes) Store(pass.outputs + i, Zero(), Whole{});
  int row_begin = 0;
  int row_end = 0;
  int64_t block = pass.SeenBegin(0) / args.block_size;
  for (int64_t position = block * args.block_size; position < pass.SeenEnd(pass.rows - 1);
       position += args.block_size, ++block) {
    while (row_end < pass.rows && pass.SeenBegin(row_end) < position + args.block_size) ++row_end;
    while (pass.SeenEnd(row_begin) <= position) ++row_begin;
    const std::byte* page = args.pages + args.block_table[block] * args.page_stride;
    AddBlock(pass, reinterpret_cast<const T*>(page), position, row_begin, row_end);
  }
  for (int i = 0; i < queries; ++i) {
    const float* output = pass.outputs + static_cast<int64_t>(i) * pass.padded_dim;
    float* out = args.out + (pass.first_row + i / args.heads) * args.out_stride +
                 static_cast<int64_t>(i % args.heads) * args.head_dim;
    const Vec sum = Set(pass.sums[i]);
    int d = 0;
    for (; d + kLanes <= args.head_dim; d += kLanes)
      Store(out + d, Div(Load(output + d, Whole{}), sum), Whole{});
    if (d < args.head_dim) Store(out + d, Div(Load(output + d, Whole{}), sum), First{args.head_dim - d});
  }
}

template <class T>
void AttentionOf(const AttentionArgs& args) {
  const int padded_tokens = (args.block_size + kLanes - 1) / kLanes * kLanes;
  const int padded_dim = (args.head_dim + kLanes - 1) / kLanes * kLanes;
  const int queries = kRowsPerPass * args.heads;
  float* weights = args.scratch;
  float* outputs = weights + static_cast<int64_t>(queries) * padded_tokens;
  float* maxima = outputs + static_cast<int64_t>(queries) * padded_dim;
  float* sums = maxima + queries;
  for (int row = 0; row < args.rows; row += kRowsPerPass) {
    const int rows = args.rows - row < kRowsPerPass ? args.rows - row : kRowsPerPass;
    RunPass(Pass<T>{args, row, rows, padded_tokens, padded_dim, weights, outputs, maxima, sums});
  }
}

// Element d of a token's key lies 16 elements after element d - 1; its values
// lie together.
template <class T>
void StoreKvOf(const StoreKvArgs& args) {
  const auto convert = [](const float* p, auto part) {
    const Vec v = Load(p, part);
    return sizeof(T) == 4 ? v : Max(Set(-65504.0f), Min(Set(65504.0f), v));
  };
  const auto store = [&](int d, auto part, int n) {
    T* page = static_cast<T*>(args.page_head);
    T* key = page + (static_cast<int64_t>(args.slot_in_block / kLanes) * args.head_dim + d) * kLanes +
             args.slot_in_block % kLanes;
    T elements[kLanes];
    Store(elements, convert(args.key + d, part), Whole{});
    for (int i = 0; i < n; ++i) key[i * kLanes] = elements[i];
    const int64_t tokens = (args.block_size + kLanes - 1) / kLanes * kLanes + args.slot_in_block;
    Store(page + tokens * args.head_dim + d, convert(args.value + d, part), part);
  };
  int d = 0;
  for (; d + kLanes <= args.head_dim; d += kLanes) store(d, Whole{}, kLanes);
  if (d < args.head_dim) store(d, First{args.head_dim - d}, args.head_dim - d);
}

}  // namespace

void Attention(const AttentionArgs& args) {
  return args.format == KvFormat::kF32 ? AttentionOf<float>(args) : AttentionOf<uint16_t>(args);
}

void StoreKv(const StoreKvArgs& args) {
  return args.format == KvFormat::kF32 ? StoreKvOf<float>(args) : StoreKvOf<uint16_t>(args);
}

}  // namespace phalanx::PHX_ISA
