#pragma once

#include <cstddef>
#include <cstdint>

#include "compute/kernels/kernel_table.h"

namespace phalanx {

// Shape of the key/value pool as one rank sees it.
struct KvCacheShape {
  int32_t num_layers = 0;
  int32_t num_kv_heads = 0;  // of this rank
  int32_t head_dim = 0;
  int32_t block_size = 128;  // tokens
  KvFormat format = KvFormat::kF32;

  size_t page_head_bytes() const { return KvPageHeadElements(block_size, head_dim) * KvBytes(format); }
  // Bytes of one block over all layers and heads of the rank.
  size_t block_bytes() const {
    return page_head_bytes() * static_cast<size_t>(num_kv_heads) * static_cast<size_t>(num_layers);
  }
};

// The node's pool as one rank maps it: its plane, [layer][kv_head][block] page heads (kernel_table.h says what a page head is).
// Block ids are the node's; who owns which block only the scheduler knows. Does not own the memory.
class KvCache {
 public:
  KvCache(const KvCacheShape& shape, int64_t num_blocks, std::byte* plane)
      : shape_(shape), num_blocks_(num_blocks), plane_(plane) {}

  const KvCacheShape& shape() const { return shape_; }
  int64_t num_blocks() const { return num_blocks_; }
  // Page head of block 0; block b follows at b * page_head_bytes().
  std::byte* Pages(int32_t layer, int32_t kv_head) const {
    return plane_ + (static_cast<size_t>(layer) * static_cast<size_t>(shape_.num_kv_heads) +
                     static_cast<size_t>(kv_head)) *
                        static_cast<size_t>(num_blocks_) * shape_.page_head_bytes();
  }
  size_t plane_bytes() const { return shape_.block_bytes() * static_cast<size_t>(num_blocks_); }

 private:
  KvCacheShape shape_;
  int64_t num_blocks_;
  std::byte* plane_;
};

}  // namespace phalanx
