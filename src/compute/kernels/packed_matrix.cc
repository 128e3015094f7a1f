#include "compute/kernels/packed_matrix.h"

#include <cstring>

#include "base/check.h"

namespace phalanx {
namespace {

struct FormatRow {
  std::string_view name;
  int group;             // elements that share a scale
  int checkpoint_bytes;  // of one group of one row
  int panel_bytes;       // of one group of one panel
  void (*pack_group)(const std::byte* const* groups,
                     std::byte* out);  // one group of all 16 rows; null: a row is missing
};

// Elements of `kBytes` bytes, side by side.
template <int kBytes>
void PackElements(const std::byte* const* groups, std::byte* out) {
  for (int c = 0; c < kPanelColumns; ++c) {
    if (groups[c] == nullptr) {
      std::memset(out + c * kBytes, 0, kBytes);
    } else {
      std::memcpy(out + c * kBytes, groups[c], kBytes);
    }
  }
}

// Blocks of `kHeader` bytes of scales (and minima) and then `kWords` words of 4 bytes of elements. Word j of
// all 16 rows lies together, then scale by scale. The checkpoint's nibbles are paired (j, j + 16), as the
// panel wants them.
template <int kHeader, int kWords, unsigned kFlip>
void PackBlocks(const std::byte* const* groups, std::byte* out) {
  std::memset(out, 0, kPanelColumns * (4 * kWords + kHeader));
  for (int c = 0; c < kPanelColumns; ++c) {
    if (groups[c] == nullptr) continue;
    for (int j = 0; j < kWords; ++j) {
      uint32_t word;
      std::memcpy(&word, groups[c] + kHeader + 4 * j, 4);
      word ^= kFlip;
      std::memcpy(out + 4 * (j * kPanelColumns + c), &word, 4);
    }
    for (int h = 0; h < kHeader / 2; ++h) {
      std::memcpy(out + 4 * kWords * kPanelColumns + 2 * (h * kPanelColumns + c), groups[c] + 2 * h, 2);
    }
  }
}

constexpr FormatRow kFormats[kNumWeightFormats] = {
    {"F32", 1, 4, 64, PackElements<4>},         {"F16", 1, 2, 32, PackElements<2>},
    {"BF16", 1, 2, 32, PackElements<2>},        {"Q8_0", 32, 34, 544, PackBlocks<2, 8, 0x80808080u>},
    {"Q4_0", 32, 18, 288, PackBlocks<2, 4, 0>}, {"Q4_1", 32, 20, 320, PackBlocks<4, 4, 0>},
};

const FormatRow& Row(WeightFormat format) {
  return kFormats[static_cast<int>(format)];
}

size_t NumGroups(WeightFormat format, int64_t k) {
  CHECK(k >= 0 && k % Row(format).group == 0);
  return static_cast<size_t>(k / Row(format).group);
}

}  // namespace

std::string_view WeightFormatName(WeightFormat format) {
  return Row(format).name;
}

int WeightGroup(WeightFormat format) {
  return Row(format).group;
}

size_t CheckpointRowBytes(WeightFormat format, int64_t k) {
  return NumGroups(format, k) * static_cast<size_t>(Row(format).checkpoint_bytes);
}

size_t PanelBytes(WeightFormat format, int64_t k) {
  return NumGroups(format, k) * static_cast<size_t>(Row(format).panel_bytes);
}

void PackPanels(WeightFormat format, const std::byte* (*row)(const void* context, int64_t n),
                const void* context, int64_t n, int64_t k, int64_t panel_begin, int64_t panel_end,
                std::byte* out) {
  const FormatRow& spec = Row(format);
  const size_t groups = NumGroups(format, k);
  for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
    const std::byte* rows[kPanelColumns];
    for (int c = 0; c < kPanelColumns; ++c) {
      const int64_t column = panel * kPanelColumns + c;
      rows[c] = column < n ? row(context, column) : nullptr;
    }
    std::byte* to = out + static_cast<size_t>(panel) * PanelBytes(format, k);
    for (size_t g = 0; g < groups; ++g) {
      spec.pack_group(rows, to);
      to += spec.panel_bytes;
      for (const std::byte*& r : rows) {
        if (r != nullptr) r += spec.checkpoint_bytes;
      }
    }
  }
}

}  // namespace phalanx
