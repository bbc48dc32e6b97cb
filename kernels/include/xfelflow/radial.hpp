// Strong pixels above the background at their radius; xfel_apps/compute/radial.py is the definition.
#pragma once

#include <xfelflow/frames.hpp>

namespace xfelflow::radial {

using namespace xfelflow::frames;

using Place = std::int32_t;              ///< of a pixel in the slab

/// The photons of each pixel; NaN where it is not good.
template <class Raw>
struct Convert {
  Frame<Raw> frame;
  Array<const Tile*> tiles;
  Array<float**> photons;

  KOKKOS_INLINE_FUNCTION void operator()(const int index) const {
    const Tile tile = tiles(index);
    const Panel panel = frame.panels(tile.panel);
    const float lowest = panel.lowest, highest = panel.highest, scale = 1.0F / panel.gain;
    for (int line = tile.slow; line < tile.slow + tile.height; ++line) {
      const int slow = panel.slow + line, fast = panel.fast + tile.fast;
      const Raw* raw = &frame.raw(slow, fast);
      const Byte* mask = &frame.mask(slow, fast);
      float* out = &photons(slow, fast);
      XFELFLOW_SIMD()
      for (int i = 0; i < tile.width; ++i) {
        const Pixel pixel = trusted(raw[i], mask[i], lowest, highest);
        out[i] = pixel.good > 0.0F ? pixel.value * scale : no_number;
      }
    }
  }
};

/// The pixels of one radial bin after the other: taken together once, then read over and over from the first cache.
struct Clip {
  static constexpr int block = 64;
  Array<const float*> photons;           ///< of the slab
  Array<const Place*> order;             ///< pixels of the slab by bin
  Array<const Place*> ends;              ///< where each bin ends in `order`
  double sigmas;
  int min_count, iterations;
  Array<float*> sorted;
  Array<double*> mean, deviation;
  Array<Byte*> strong;

  KOKKOS_INLINE_FUNCTION void operator()(const int bin) const {
    const Place first = bin > 0 ? ends(bin - 1) : 0;
    const int n = ends(bin) - first;
    const Place* from = order.data() + first;
    float* values = sorted.data() + first;
    XFELFLOW_SIMD()
    for (int i = 0; i < n; ++i) values[i] = photons.data()[from[i]];
    float limit = infinity;
    for (int i = 0; i < iterations; ++i) limit = summarise(values, n, limit, bin);
    mark(values, from, n, limit);
  }

  /// Mean and standard deviation of what lies at or below the limit; return the new limit.
  KOKKOS_INLINE_FUNCTION float summarise(const float* values, int n, float limit, int bin) const {
    double count = 0.0, sum = 0.0, squares = 0.0;
    XFELFLOW_SIMD(reduction(+ : count, sum, squares))
    for (int i = 0; i < n; ++i) {
      const bool counts = values[i] <= limit;  // never NaN
      const double value = counts ? static_cast<double>(values[i]) : 0.0;
      count += counts ? 1.0 : 0.0;
      sum += value;
      squares += value * value;
    }
    const bool enough = count >= min_count;
    mean(bin) = enough ? sum / count : 0.0;
    const double variance = enough ? squares / count - mean(bin) * mean(bin) : 0.0;
    const double most = variance > mean(bin) ? variance : mean(bin);
    deviation(bin) = xfelflow::sqrt(most > 0.0 ? most : 0.0);
    return enough ? static_cast<float>(mean(bin) + sigmas * deviation(bin)) : infinity;
  }

  KOKKOS_INLINE_FUNCTION void mark(const float* values, const Place* places, int n, float limit) const {
    for (int first = 0; first < n; first += block) {
      const int last = first + block < n ? first + block : n;
      int any = 0;
      XFELFLOW_SIMD(reduction(| : any))
      for (int i = first; i < last; ++i) any |= values[i] > limit ? 1 : 0;
      for (int i = first; any != 0 && i < last; ++i)
        if (values[i] > limit) strong(places[i]) = 1;
    }
  }
};

}  // namespace xfelflow::radial
