// Sum and maximum of frames; xfel_apps/compute/powder.py is the definition.
#pragma once

#include <xfelflow/frames.hpp>

namespace xfelflow::powder {

using namespace xfelflow::frames;

constexpr int most_frames = 4;         ///< that are added at once, so that sums go to memory and back once

/// Add frames in whole parts of an ADU, so that their order does not matter.
template <class Raw>
struct Add {
  Array<const Raw**> frames[most_frames];
  int n_frames;
  Array<const Byte**> mask;
  Array<const Panel*> panels;
  Array<const Tile*> tiles;
  float parts;
  Array<std::int64_t**> total;
  Array<std::int32_t**> highest;

  KOKKOS_INLINE_FUNCTION void operator()(const int index) const {
    const Tile tile = tiles(index);
    const Panel panel = panels(tile.panel);
    for (int line = tile.slow; line < tile.slow + tile.height; ++line)
      for (int frame = 0; frame < n_frames; ++frame)
        add(frames[frame], panel, panel.slow + line, panel.fast + tile.fast, tile.width);
  }

  KOKKOS_INLINE_FUNCTION void add(const Array<const Raw**>& frame, const Panel& panel, int slow, int fast,
                                  int width) const {
    constexpr float most = 2147483520.0F;  // the greatest float that fits
    const float lowest_value = panel.lowest, highest_value = panel.highest, scale = parts;
    const Raw* raw = &frame(slow, fast);
    const Byte* good = &mask(slow, fast);
    std::int64_t* sum = &total(slow, fast);
    std::int32_t* top = &highest(slow, fast);
    XFELFLOW_SIMD()
    for (int i = 0; i < width; ++i) {
      const Pixel pixel = trusted(raw[i], good[i], lowest_value, highest_value);
      const float scaled = pixel.value * scale, half = scaled < 0.0F ? -0.5F : 0.5F;
      const float within = scaled > most ? most : (scaled < -most ? -most : scaled + half);
      const std::int32_t value = static_cast<std::int32_t>(within);
      const std::int32_t above = top[i] > value ? top[i] : value;
      sum[i] += value;
      top[i] = pixel.good > 0.0F ? above : top[i];
    }
  }
};

}  // namespace xfelflow::powder
