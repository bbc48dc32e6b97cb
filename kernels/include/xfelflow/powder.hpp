// Sum and maximum of frames; xfel_apps/compute/powder.py is the definition.
#pragma once

#include <xfelflow/frames.hpp>

namespace xfelflow::powder {

using namespace xfelflow::frames;

/// Add one frame in whole parts of an ADU, so that the order of frames does not matter: to `recent` what is at most
/// `limit`, which is nearly all, and what is more to `total`.
template <class Raw>
struct Add {
  Frame<Raw> frame;
  Array<const Tile*> tiles;
  float parts;
  std::int32_t limit;
  Array<std::int32_t**> recent;
  Array<std::int64_t**> total;
  Array<std::int32_t**> highest;

  KOKKOS_INLINE_FUNCTION void operator()(const int index) const {
    const Tile tile = tiles(index);
    const Panel panel = frame.panels(tile.panel);
    for (int line = tile.slow; line < tile.slow + tile.height; ++line) {
      std::int32_t values[tile_width], tops[tile_width];
      const int slow = panel.slow + line, fast = panel.fast + tile.fast;
      read(panel, slow, fast, tile.width, values, tops);
      add(values, tile.width, &recent(slow, fast), &total(slow, fast));
      raise(tops, tile.width, &highest(slow, fast));
    }
  }

  KOKKOS_INLINE_FUNCTION void add(const std::int32_t (&values)[tile_width], int width, std::int32_t* small,
                                  std::int64_t* large) const {
    const std::int32_t most = limit;
    std::int32_t is_large = 0;
    XFELFLOW_SIMD(reduction(| : is_large))
    for (int i = 0; i < width; ++i) is_large |= (values[i] > most) | (values[i] < -most) ? 1 : 0;
    if (is_large == 0) {
      XFELFLOW_SIMD()
      for (int i = 0; i < width; ++i) small[i] += values[i];
      return;
    }
    for (int i = 0; i < width; ++i) {
      const bool fits = values[i] <= most && values[i] >= -most;
      small[i] += fits ? values[i] : 0;
      large[i] += fits ? 0 : values[i];
    }
  }

  /// Of most lines no maximum rises; then none is written again.
  KOKKOS_INLINE_FUNCTION static void raise(const std::int32_t (&tops)[tile_width], int width, std::int32_t* top) {
    std::int32_t rises = 0;
    XFELFLOW_SIMD(reduction(| : rises))
    for (int i = 0; i < width; ++i) rises |= tops[i] > top[i] ? 1 : 0;
    if (rises == 0) return;
    XFELFLOW_SIMD()
    for (int i = 0; i < width; ++i) top[i] = tops[i] > top[i] ? tops[i] : top[i];
  }

  /// Values of a line in parts of an ADU, 0 and as a maximum the least there is where they are not good.
  KOKKOS_INLINE_FUNCTION void read(const Panel& panel, int slow, int fast, int width,
                                   std::int32_t (&values)[tile_width], std::int32_t (&tops)[tile_width]) const {
    constexpr float most = 2147483520.0F;  // the greatest float that fits
    constexpr std::int32_t never = std::numeric_limits<std::int32_t>::min();
    const float lowest_value = panel.lowest, highest_value = panel.highest, scale = parts;
    const Raw* raw = &frame.raw(slow, fast);
    const Byte* mask = &frame.mask(slow, fast);
    XFELFLOW_SIMD()
    for (int i = 0; i < width; ++i) {
      const Pixel pixel = trusted(raw[i], mask[i], lowest_value, highest_value);
      const float scaled = pixel.value * scale, half = scaled < 0.0F ? -0.5F : 0.5F;
      const float within = scaled > most ? most : (scaled < -most ? -most : scaled + half);
      values[i] = static_cast<std::int32_t>(within);
      tops[i] = pixel.good > 0.0F ? values[i] : never;
    }
  }
};

}  // namespace xfelflow::powder
