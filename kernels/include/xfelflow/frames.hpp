// Frames as the kernels see them: panels are rectangles of one array, the slab, cut into tiles.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>
#include <xfelflow/arrays.hpp>
#include <xfelflow/vector_math.hpp>

namespace xfelflow::frames {

using Byte = std::uint8_t;

constexpr float infinity = std::numeric_limits<float>::infinity(), no_number = std::numeric_limits<float>::quiet_NaN();

struct Panel {
  int fast, slow, width, height;     ///< first pixel in the slab, pixels along each axis
  float lowest, highest;             ///< trusted values [ADU]
  float gain, variance;              ///< ADU a photon, readout noise [ADU^2]
};

/// Columns a processor takes at a time, so that loops vectorise and rows stay in the first cache.
constexpr int tile_width = 128, tile_height = 64;

/// A part of one panel; positions count from the panel's first pixel.
struct Tile {
  int panel, fast, slow, width, height;
};

/// A pixel's trusted value and 1; 0 and 0 where it is not good.
struct Pixel {
  float value, good;
};

template <class Raw>
KOKKOS_FORCEINLINE_FUNCTION Pixel trusted(Raw raw, Byte mask, float lowest, float highest) {
  const float value = static_cast<float>(raw);
  const float good = (mask != 0 ? 1.0F : 0.0F) * (value >= lowest ? 1.0F : 0.0F);  // 0 for NaN
  const float clipped = value < highest ? value : highest;
  return {good > 0.0F ? clipped : 0.0F, good};
}

/// One frame, its mask and its panels, where the kernels run.
template <class Raw>
struct Frame {
  Array<const Raw**> raw;
  Array<const Byte**> mask;
  Array<const Panel*> panels;

  KOKKOS_INLINE_FUNCTION Pixel at(const Panel& panel, int fast, int slow) const {
    const int f = panel.fast + fast, s = panel.slow + slow;
    return trusted(raw(s, f), mask(s, f), panel.lowest, panel.highest);
  }
};

inline std::vector<Panel> make_panels(const std::int32_t* place, const float* meaning, std::size_t n) {
  std::vector<Panel> panels(n);
  for (std::size_t i = 0; i < n; ++i)
    panels[i] = {place[4 * i],   place[4 * i + 1],   place[4 * i + 2],   place[4 * i + 3],
                 meaning[4 * i], meaning[4 * i + 1], meaning[4 * i + 2], meaning[4 * i + 3]};
  return panels;
}

inline std::vector<Tile> make_tiles(const std::vector<Panel>& panels) {
  std::vector<Tile> tiles;
  for (std::size_t i = 0; i < panels.size(); ++i)
    for (int slow = 0; slow < panels[i].height; slow += tile_height)
      for (int fast = 0; fast < panels[i].width; fast += tile_width)
        tiles.push_back({static_cast<int>(i), fast, slow, std::min(tile_width, panels[i].width - fast),
                         std::min(tile_height, panels[i].height - slow)});
  return tiles;
}

}  // namespace xfelflow::frames
