// Sum and maximum of frames; xfel_apps/compute/powder.py is the definition.
#pragma once

#include <xfelflow/frames.hpp>

namespace xfelflow::powder {

using namespace xfelflow::frames;

/// Add one frame in whole parts of an ADU, so that the order of frames does not matter.
template <class Raw>
struct Add {
  Frame<Raw> frame;
  Array<const Tile*> tiles;
  float parts;
  Array<std::int64_t**> total;
  Array<std::int32_t**> highest;

  KOKKOS_INLINE_FUNCTION void operator()(const int index) const {
    constexpr float most = 2147483520.0F;  // the greatest float that fits
    const Tile tile = tiles(index);
    const Panel panel = frame.panels(tile.panel);
    const float lowest_value = panel.lowest, highest_value = panel.highest, scale = parts;
    for (int line = tile.slow; line < tile.slow + tile.height; ++line) {
      const int slow = panel.slow + line, fast = panel.fast + tile.fast;
      const Raw* raw = &frame.raw(slow, fast);
      const Byte* mask = &frame.mask(slow, fast);
      std::int64_t* sum = &total(slow, fast);
      std::int32_t* top = &highest(slow, fast);
      XFELFLOW_SIMD()
      for (int i = 0; i < tile.width; ++i) {
        const Pixel pixel = trusted(raw[i], mask[i], lowest_value, highest_value);
        const float scaled = pixel.value * scale, half = scaled < 0.0F ? -0.5F : 0.5F;
        const float within = scaled > most ? most : (scaled < -most ? -most : scaled + half);
        const std::int32_t value = static_cast<std::int32_t>(within);
        const std::int32_t above = top[i] > value ? top[i] : value;
        sum[i] += value;
        top[i] = pixel.good > 0.0F ? above : top[i];
      }
    }
  }
};

}  // namespace xfelflow::powder
