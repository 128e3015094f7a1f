#pragma once

#include "compute/kernels/kernel_args.h"
#include "compute/kernels/simd/counted.h"

// The loops around the register tiles of the matrix product, the same for all
// instruction sets.
//
// A tile is some rows times one panel, or a few panels, over a stretch of k;
// its sums enter and leave through `acc`, so that a stretch can be cut anywhere
// without another result. With few rows one tile covers them all, and the
// weights are one stream from memory, prefetched kPrefetchBytes ahead. With
// more rows the stretch is short enough that the weights stay in the
// first-level cache while the tiles of rows pass over them, and the tiles take
// turns in prefetching the next stretch, so that reading and computing overlap
// evenly.
namespace phalanx::PHX_ISA {

// Where a tile reads and adds. Panel j of several lies j * panel_bytes behind,
// its sums j * acc_stride floats behind.
struct Tile {
  const std::byte* w;
  int64_t panel_bytes;
  int64_t count;  // groups of block formats, elements of float formats
  const int8_t* q;
  const float* scale;
  const int32_t* sum_q;
  const float* sum;
  int64_t groups_stride;  // of scale, sum_q and sum, from row to row; q: 32
                          // times that
  const float* x;
  int64_t x_stride;
  float* acc;  // [rows][16]
  int64_t acc_stride;
  bool first;  // the sums begin with 0 instead of acc
  // What to prefetch beside the bytes at w: those `ahead` behind, or `ahead +
  // gap` from `limit` on. Every num_turns-th time, the first time after `turn`
  // others.
  int64_t ahead;
  const std::byte* limit;
  int64_t gap;
  int turn;
  int num_turns;
};

// Called once per kBytes of each panel. `turn` begins as tile.turn.
template <int kBytes, int kPanels>
PHX_INLINE void Prefetch(const Tile& tile, const std::byte* w, int& turn) {
  if (--turn >= 0) return;
  turn += tile.num_turns;
  const std::byte* p = w + tile.ahead;
  if (p >= tile.limit) p += tile.gap;
#pragma GCC unroll 4
  for (int j = 0; j < kPanels; ++j) {
#pragma GCC unroll 16
    for (int i = 0; i < kBytes; i += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(p + j * tile.panel_bytes + i), _MM_HINT_T0);
    }
  }
}

using TileFunction = void (*)(const Tile& tile);

constexpr int64_t kPrefetchBytes = 4096;
constexpr int64_t kRowBlockBytes = 384 << 10;  // of activations, to stay in the second-level cache
constexpr int kMaxRowBlock = 128;
constexpr int kMaxTileRows = 24;
constexpr int kMaxPanels = 4;
constexpr int kTreeLevels = 3;  // up to 8 segments

// The tiles of one format and number of panels, by rows - 1.
struct TileSet {
  int panels;
  int max_rows;
  TileFunction tiles[kMaxTileRows];
};

// What the driver must know of one format.
struct FormatTiles {
  int group;                // elements of k per count
  int group_bytes;          // of one panel
  int row_bytes_per_count;  // of the activations
  int stretch;              // counts that several tiles pass over together
  const TileSet* one_panel;
  const TileSet* some_panels;  // for as long as that many panels are left
};

// The running sums of some panels: those of the current segment, and one per
// finished subtree.
struct Sums {
  alignas(64) float acc[kMaxPanels][kMaxRowBlock][kLanes];
  alignas(64) float tree[kTreeLevels][kMaxPanels][kMaxRowBlock][kLanes];
};

// A block of rows of one product.
class RowBlock {
 public:
  RowBlock(const MatMulArgs& args, const FormatTiles& format, int64_t first_row, int rows)
      : args_(args), format_(format), first_row_(first_row), rows_(rows) {
    panel_bytes_ = args.w.k / format.group * format.group_bytes;
    counts_ = (args.k_end - args.k_begin) / format.group;
  }

  void Run() {
    const int64_t panel_end = (args_.n_end + kPanelColumns - 1) / kPanelColumns;
    for (int64_t panel = args_.n_begin / kPanelColumns; panel < panel_end;) {
      const TileSet& set =
          panel + format_.some_panels->panels <= panel_end ? *format_.some_panels : *format_.one_panel;
      Compute(set, panel);
      for (int j = 0; j < set.panels; ++j) StoreColumns(panel + j, sums_.acc[j]);
      panel += set.panels;
    }
  }

 private:
  void Compute(const TileSet& set, int64_t panel) {
    const int64_t slice_bytes = counts_ * format_.group_bytes;
    const std::byte* slice =
        args_.w.data + panel * panel_bytes_ + args_.k_begin / format_.group * format_.group_bytes;
    const int num_tiles = (rows_ + set.max_rows - 1) / set.max_rows;
    Tile tile = {};
    tile.panel_bytes = panel_bytes_;
    tile.acc_stride = kMaxRowBlock * kLanes;
    tile.groups_stride = counts_;
    tile.x_stride = args_.x_stride;
    tile.gap = set.panels * panel_bytes_ - slice_bytes;
    tile.limit = slice + slice_bytes;
    tile.num_turns = num_tiles;
    const int64_t segment = counts_ / args_.segments;
    for (int s = 0; s < args_.segments; ++s) {
      const int64_t end = (s + 1) * segment;
      int64_t begin = s * segment;
      do {
        const int64_t left = end - begin;
        tile.count = num_tiles == 1 || left < format_.stretch ? left : format_.stretch;
        tile.first = begin == s * segment;
        tile.w = slice + begin * format_.group_bytes;
        const int64_t ahead = num_tiles == 1 ? kPrefetchBytes : tile.count * format_.group_bytes;
        tile.ahead = ahead < slice_bytes ? ahead : slice_bytes;
        RunTiles(set, num_tiles, begin, tile);
        begin += tile.count;
      } while (begin < end);
      Merge(set.panels, s);
    }
  }

  // All tiles of rows over one stretch that begins `begin` counts into the
  // slice.
  void RunTiles(const TileSet& set, int num_tiles, int64_t begin, Tile& tile) {
    int row = 0;
    for (int i = 0; i < num_tiles; ++i) {
      const int rows = rows_ / num_tiles + (i < rows_ % num_tiles ? 1 : 0);
      const int64_t r = first_row_ + row;
      if (format_.group == 1) {
        tile.x = args_.x + r * args_.x_stride + begin;
      } else {
        tile.q = args_.xq.q + (r * counts_ + begin) * format_.group;
        tile.scale = args_.xq.scale + r * counts_ + begin;
        tile.sum_q = args_.xq.sum_q + r * counts_ + begin;
        tile.sum = args_.xq.sum + r * counts_ + begin;
      }
      tile.acc = sums_.acc[0][row];
      tile.turn = i;
      set.tiles[rows - 1](tile);
      row += rows;
    }
  }

  // The sums of segment s are complete: they are the right half of every
  // subtree that ends with it.
  void Merge(int panels, int s) {
    int level = 0;
    for (; (s >> level & 1) != 0; ++level) {
      for (int j = 0; j < panels; ++j) {
        for (int r = 0; r < rows_; ++r) {
          float* acc = sums_.acc[j][r];
          Store(acc, Add(Load(sums_.tree[level][j][r], Whole{}), Load(acc, Whole{})), Whole{});
        }
      }
    }
    if (s + 1 == args_.segments) return;
    for (int j = 0; j < panels; ++j) {
      for (int r = 0; r < rows_; ++r) Store(sums_.tree[level][j][r], Load(sums_.acc[j][r], Whole{}), Whole{});
    }
  }

  // Copies those of the panel's columns that lie in [n_begin, n_end).
  void StoreColumns(int64_t panel, const float (*sums)[kLanes]) {
    const int64_t first = panel * kPanelColumns;
    const int skip = first < args_.n_begin ? static_cast<int>(args_.n_begin - first) : 0;
    const int end =
        first + kPanelColumns > args_.n_end ? static_cast<int>(args_.n_end - first) : kPanelColumns;
    float* out = args_.out + first_row_ * args_.out_stride + first + skip - args_.n_begin;
    for (int r = 0; r < rows_; ++r) {
      if (end - skip == kPanelColumns) {
        Store(out, Load(sums[r], Whole{}), Whole{});
      } else {
        Store(out, Load(sums[r] + skip, First{end - skip}), First{end - skip});
      }
      out += args_.out_stride;
    }
  }

  const MatMulArgs& args_;
  const FormatTiles& format_;
  const int64_t first_row_;
  const int rows_;
  int64_t panel_bytes_;
  int64_t counts_;  // of the slice of k
  Sums sums_;
};

inline void RunMatMul(const MatMulArgs& args, const FormatTiles& format) {
  if (args.n_begin >= args.n_end) return;
  const int64_t row_bytes = (args.k_end - args.k_begin) / format.group * format.row_bytes_per_count + 1;
  const int64_t fitting = kRowBlockBytes / row_bytes;
  const int64_t most = fitting < 48 ? 48 : fitting < kMaxRowBlock ? fitting : kMaxRowBlock;
  const int64_t num_blocks = (args.rows + most - 1) / most;
  int64_t row = 0;
  for (int64_t i = 0; i < num_blocks; ++i) {
    const int64_t rows = args.rows / num_blocks + (i < args.rows % num_blocks ? 1 : 0);
    RowBlock(args, format, row, static_cast<int>(rows)).Run();
    row += rows;
  }
}

}  // namespace phalanx::PHX_ISA
