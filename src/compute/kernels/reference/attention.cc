#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "compute/kernels/half.h"
#include "compute/kernels/reference/kernels.h"

namespace phalanx::reference {
namespace {

int64_t KeyIndex(int token, int d, int head_dim) {
  return static_cast<int64_t>(token / kLanes * head_dim + d) * kLanes + token % kLanes;
}

int64_t ValueIndex(int token, int d, int block_size, int head_dim) {
  const int64_t keys = static_cast<int64_t>((block_size + kLanes - 1) / kLanes) * kLanes * head_dim;
  return keys + static_cast<int64_t>(token) * head_dim + d;
}

void StoreElement(void* page, KvFormat format, int64_t index, float value) {
  if (format == KvFormat::kF32) {
    static_cast<float*>(page)[index] = value;
  } else {
    static_cast<uint16_t*>(page)[index] = FloatToHalfSaturated(value);
  }
}

float LoadElement(const std::byte* page, KvFormat format, int64_t index) {
  if (format == KvFormat::kF32) return reinterpret_cast<const float*>(page)[index];
  return HalfToFloat(reinterpret_cast<const uint16_t*>(page)[index]);
}

// The running state of one row and head: what the blocks so far give.
struct SoftmaxState {
  float max = -std::numeric_limits<float>::infinity();
  float sum = 0;
};

// Tokens [begin, end) of one block.
void AddBlock(const AttentionArgs& args, const std::byte* page, int begin, int end, const float* q,
              SoftmaxState& state, float* weights, float* output) {
  float max = state.max;
  for (int t = begin; t < end; ++t) {
    float dot = 0;
    for (int d = 0; d < args.head_dim; ++d) {
      dot = std::fma(q[d], LoadElement(page, args.format, KeyIndex(t, d, args.head_dim)), dot);
    }
    weights[t] = dot * args.scale;
    max = weights[t] > max ? weights[t] : max;
  }
  const float alpha = Exp(state.max - max);
  float lanes[kLanes] = {};
  for (int t = begin; t < end; ++t) {
    weights[t] = Exp(weights[t] - max);
    lanes[t % kLanes] = lanes[t % kLanes] + weights[t];
  }
  state = {max, std::fma(state.sum, alpha, SumLanes(lanes))};
  for (int d = 0; d < args.head_dim; ++d) {
    float value = output[d] * alpha;
    for (int t = begin; t < end; ++t) {
      value =
          std::fma(weights[t],
                   LoadElement(page, args.format, ValueIndex(t, d, args.block_size, args.head_dim)), value);
    }
    output[d] = value;
  }
}

}  // namespace

void StoreKv(const StoreKvArgs& args) {
  for (int d = 0; d < args.head_dim; ++d) {
    StoreElement(args.page_head, args.format, KeyIndex(args.slot_in_block, d, args.head_dim), args.key[d]);
    StoreElement(args.page_head, args.format,
                 ValueIndex(args.slot_in_block, d, args.block_size, args.head_dim), args.value[d]);
  }
}

void Attention(const AttentionArgs& args) {
  float* weights = args.scratch;
  float* output = weights + args.block_size;
  for (int r = 0; r < args.rows; ++r) {
    const int64_t end = args.first_position + r + 1;
    const int64_t begin = args.window > 0 ? std::max<int64_t>(0, end - args.window) : 0;
    for (int h = 0; h < args.heads; ++h) {
      SoftmaxState state;
      std::fill(output, output + args.head_dim, 0.0f);
      for (int64_t block = begin / args.block_size; block * args.block_size < end; ++block) {
        const int64_t first = block * args.block_size;
        AddBlock(args, args.pages + args.block_table[block] * args.page_stride,
                 static_cast<int>(std::max(begin - first, int64_t{0})),
                 static_cast<int>(std::min<int64_t>(end - first, args.block_size)),
                 args.q + r * args.q_stride + static_cast<int64_t>(h) * args.head_dim, state, weights,
                 output);
      }
      float* out = args.out + r * args.out_stride + static_cast<int64_t>(h) * args.head_dim;
      for (int d = 0; d < args.head_dim; ++d) out[d] = output[d] / state.sum;
    }
  }
}

}  // namespace phalanx::reference
