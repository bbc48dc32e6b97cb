// Moments of small windows spread over a frame; xfel_apps/compute/window_moments.py is the definition.
#pragma once

#include <xfelflow/frames.hpp>

namespace xfelflow::window_moments {

using namespace xfelflow::frames;

constexpr int side = 7, n_pixels = side * side;  ///< of a window [pixel]
constexpr int padded = 64, n_more = padded - n_pixels;
constexpr int ahead = 12;                        ///< windows asked for before they are needed
enum Column { good, odd, mean, variance, n_columns };

/// Slab position of a window's first pixel.
struct Corner {
  std::int32_t slow, fast;
};

/// 1 where a value is below -0.5 or not whole, else 0.
KOKKOS_FORCEINLINE_FUNCTION float is_odd(float value) {
  constexpr float all_whole = 16777216.0F;  // from here on every float is
  const float part = (value > -1.0F) & (value < all_whole) ? value : 0.0F;
  const float whole = static_cast<float>(static_cast<std::int32_t>(part));
  return (value >= -0.5F) & (whole == part) ? 0.0F : 1.0F;
}

template <class Raw>
struct Measure {
  Array<const Raw**> raw;
  Array<const std::int32_t**> corners;
  float lowest, highest;
  Array<double**> table;
  using Values = float[padded];          ///< of a window; its first one again beyond the last

  KOKKOS_INLINE_FUNCTION Corner corner(int index) const { return {corners(index, 0), corners(index, 1)}; }

  KOKKOS_INLINE_FUNCTION void operator()(const int index) const {
    if (index + ahead < static_cast<int>(corners.extent(0))) ask_for(corner(index + ahead));
    const Corner at = corner(index);
    Values values;
    for (int line = 0; line < side; ++line) {
      const Raw* row = &raw(at.slow + line, at.fast);
      for (int i = 0; i < side; ++i) values[side * line + i] = static_cast<float>(row[i]);
    }
    for (int i = n_pixels; i < padded; ++i) values[i] = values[0];
    count(index, values);
    sum_up(index, values);
  }

  KOKKOS_INLINE_FUNCTION float is_good(float value) const {
    return (value >= lowest ? 1.0F : 0.0F) * (value <= highest ? 1.0F : 0.0F);
  }

  KOKKOS_INLINE_FUNCTION void count(int index, const Values& values) const {
    float n_good = 0.0F, n_odd = 0.0F;
    XFELFLOW_SIMD(reduction(+ : n_good, n_odd))
    for (int i = 0; i < padded; ++i) {
      n_good += is_good(values[i]);
      n_odd += is_odd(values[i]);
    }
    table(index, good) = n_good - n_more * is_good(values[0]);
    table(index, odd) = n_odd - n_more * is_odd(values[0]);
  }

  /// Sums from the first value on are small, so that they stay exact; what is padded adds nothing to them.
  KOKKOS_INLINE_FUNCTION void sum_up(int index, const Values& values) const {
    const double origin = values[0];
    double x = 0.0, y = 0.0;
    XFELFLOW_SIMD(reduction(+ : x, y))
    for (int i = 0; i < padded; ++i) {
      const double off = values[i] - origin;
      x += off;
      y += off * off;
    }
    table(index, mean) = origin + x / n_pixels;
    table(index, variance) = (y - x * x / n_pixels) / (n_pixels - 1);
  }

  /// Ask for a window's rows at once: they lie where nothing else was read.
  KOKKOS_INLINE_FUNCTION void ask_for(const Corner& at) const {
#if !defined(__CUDA_ARCH__) && !defined(__HIP_DEVICE_COMPILE__)
    for (int line = 0; line < side; ++line) {
      __builtin_prefetch(&raw(at.slow + line, at.fast));
      __builtin_prefetch(&raw(at.slow + line, at.fast + side - 1));
    }
#endif
  }
};

}  // namespace xfelflow::window_moments
