// Sums over square windows: down the columns or along the rows of a stretch of columns at a time.
#pragma once

#include <xfelflow/frames.hpp>

namespace xfelflow::windows {

using namespace xfelflow::frames;

/// Good pixels, sum and sum of squares of what lies in a window.
enum { count, sum, squares, moments };

/// The next multiple of the lanes of a vector, so that loops over arrays of this length have no rest.
constexpr int whole_vectors(int n) { return (n + 15) / 16 * 16; }

/// The part of `n` columns from `fast` on that lies on the panel, counted from `fast`.
struct Stretch {
  int first, last;
};

KOKKOS_INLINE_FUNCTION Stretch on_panel(const Panel& panel, int fast, int n) {
  const int first = fast < 0 ? -fast : 0;
  const int last = fast + n > panel.width ? panel.width - fast : n;
  return {first < n ? first : n, last > first ? last : first};
}

template <int n>
KOKKOS_INLINE_FUNCTION void clear_around(const Stretch& stretch, float (&row)[moments][n]) {
  for (int m = 0; m < moments; ++m) {
    for (int i = 0; i < stretch.first; ++i) row[m][i] = 0.0F;
    for (int i = stretch.last; i < n; ++i) row[m][i] = 0.0F;
  }
}

/// Sums over `rows` rows from `slow` on of each of n columns from `fast` on; beyond the panel nothing is good.
template <int rows, class Raw, int n>
KOKKOS_INLINE_FUNCTION void sum_down(const Frame<Raw>& frame, const Panel& panel, int fast, int slow,
                                     float (&sums)[moments][n]) {
  const Stretch on = on_panel(panel, fast, n);
  clear_around(on, sums);
  const Byte none[n] = {};
  const Raw* raw[rows];
  const Byte* mask[rows];
  for (int r = 0; r < rows; ++r) {
    const bool is_row = slow + r >= 0 && slow + r < panel.height;
    const int line = panel.slow + (is_row ? slow + r : 0), column = panel.fast + fast + on.first;
    raw[r] = &frame.raw(line, column);
    mask[r] = is_row ? &frame.mask(line, column) : none;
  }
  const float lowest = panel.lowest, highest = panel.highest;
  float *counts = sums[count] + on.first, *totals = sums[sum] + on.first, *powers = sums[squares] + on.first;
  XFELFLOW_SIMD()
  for (int i = 0; i < on.last - on.first; ++i) {
    float c = 0.0F, x = 0.0F, y = 0.0F;
    for (int r = 0; r < rows; ++r) {
      const Pixel pixel = trusted(raw[r][i], mask[r][i], lowest, highest);
      c += pixel.good;
      x += pixel.value;
      y += pixel.value * pixel.value;
    }
    counts[i] = c;
    totals[i] = x;
    powers[i] = y;
  }
}

/// Sums of `width` values in a row.
template <int width, int n, int n_values>
KOKKOS_INLINE_FUNCTION void slide(const float (&values)[n_values], float (&out)[n]) {
  static_assert(n + width - 1 <= n_values);
  XFELFLOW_SIMD()
  for (int i = 0; i < n; ++i) {
    float total = values[i];
    for (int j = 1; j < width; ++j) total += values[i + j];
    out[i] = total;
  }
}

}  // namespace xfelflow::windows
