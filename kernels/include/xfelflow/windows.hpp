// Sums over square windows: down the columns or along the rows of a stretch of columns at a time.
#pragma once

#include <xfelflow/frames.hpp>

namespace xfelflow::windows {

using namespace xfelflow::frames;

/// Good pixels, sum and sum of squares of what lies in a window.
enum { count, sum, squares, moments };

/// Pixels converted at a time: a vector of their mask's bytes.
constexpr int block = 64;

/// Lengths of arrays over which loops have no rest: of values, of what is read from a frame.
constexpr int whole_vectors(int n) { return (n + 15) / 16 * 16; }
constexpr int whole_blocks(int n) { return (n + block - 1) / block * block; }

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

/// Ask for the pixels of n columns and n_rows rows all at once, so that memory is waited for once and not row by row.
template <class Raw>
KOKKOS_INLINE_FUNCTION void prefetch(const Frame<Raw>& frame, const Panel& panel, int fast, int slow, int n,
                                     int n_rows) {
#if !defined(__CUDA_ARCH__) && !defined(__HIP_DEVICE_COMPILE__)
  constexpr int line = 64;  // bytes
  const Stretch on = on_panel(panel, fast, n);
  for (int r = slow < 0 ? -slow : 0; r < n_rows && slow + r < panel.height; ++r) {
    const int row = panel.slow + slow + r;
    for (int i = on.first; i < on.last; i += line / static_cast<int>(sizeof(Raw)))
      __builtin_prefetch(&frame.raw(row, panel.fast + fast + i));
    for (int i = on.first; i < on.last; i += line) __builtin_prefetch(&frame.mask(row, panel.fast + fast + i));
  }
#endif
}

/// Where the pixels of `rows` rows lie, from one column on; rows beyond the panel have a mask of zeros.
template <class Raw, int rows>
struct Lines {
  const Raw* raw[rows];
  const Byte* mask[rows];
};

/// Sums of `n` columns of the lines, from column `first` on.
template <class Raw, int rows, int n_sums>
KOKKOS_FORCEINLINE_FUNCTION void add_up(const Lines<Raw, rows>& lines, const Panel& panel, int first, int n, int at,
                                   float (&sums)[moments][n_sums]) {
  const float lowest = panel.lowest, highest = panel.highest;
  float *counts = sums[count] + at, *totals = sums[sum] + at, *powers = sums[squares] + at;
  XFELFLOW_SIMD()
  for (int i = first; i < first + n; ++i) {
    float c = 0.0F, x = 0.0F, y = 0.0F;
    for (int r = 0; r < rows; ++r) {
      const Pixel pixel = trusted(lines.raw[r][i], lines.mask[r][i], lowest, highest);
      c += pixel.good;
      x += pixel.value;
      y += pixel.value * pixel.value;
    }
    counts[i] = c;
    totals[i] = x;
    powers[i] = y;
  }
}

/// Sums of fewer columns than a block: a whole block is read and the mask says which pixels are meant, unless that
/// would leave the frame's memory.
template <class Raw, int rows, int n>
KOKKOS_INLINE_FUNCTION void add_up_few(const Frame<Raw>& frame, const Lines<Raw, rows>& lines, const Panel& panel,
                                       const Stretch& on, float (&sums)[moments][n]) {
  static_assert(n >= block);
  const int n_on = on.last - on.first, start = on.first < n - block ? on.first : n - block, before = on.first - start;
  const Raw *begin = frame.raw.data(), *end = begin + frame.raw.size();
  Byte mask[rows][block] = {};
  Lines<Raw, rows> whole;
  for (int r = 0; r < rows; ++r) {
    if (lines.raw[r] - begin < before || end - lines.raw[r] < block - before)
      return add_up(lines, panel, 0, n_on, on.first, sums);
    whole.raw[r] = lines.raw[r] - before;
    whole.mask[r] = mask[r];
    for (int i = 0; i < n_on; ++i) mask[r][before + i] = lines.mask[r][i];
  }
  add_up(whole, panel, 0, block, start, sums);
}

/// Sums over `rows` rows from `slow` on of each of n columns from `fast` on; beyond the panel nothing is good.
template <int rows, class Raw, int n>
KOKKOS_INLINE_FUNCTION void sum_down(const Frame<Raw>& frame, const Panel& panel, int fast, int slow,
                                     float (&sums)[moments][n]) {
  const Stretch on = on_panel(panel, fast, n);
  clear_around(on, sums);
  const Byte none[n] = {};
  Lines<Raw, rows> lines;
  for (int r = 0; r < rows; ++r) {
    const bool is_row = slow + r >= 0 && slow + r < panel.height;
    const int line = panel.slow + (is_row ? slow + r : 0), column = panel.fast + fast + on.first;
    lines.raw[r] = &frame.raw(line, column);
    lines.mask[r] = is_row ? &frame.mask(line, column) : none;
  }
  const int n_on = on.last - on.first;
  if (n_on < block) return add_up_few(frame, lines, panel, on, sums);
  for (int first = 0; first < n_on; first += block)  // the last block may do some columns again
    add_up(lines, panel, first + block <= n_on ? first : n_on - block, block, on.first, sums);
}

/// Sums of `width` values in a row.
template <int width, int n, int n_values>
KOKKOS_FORCEINLINE_FUNCTION void slide(const float (&values)[n_values], float (&out)[n]) {
  static_assert(n + width - 1 <= n_values);
  XFELFLOW_SIMD()
  for (int i = 0; i < n; ++i) {
    float total = values[i];
    for (int j = 1; j < width; ++j) total += values[i + j];
    out[i] = total;
  }
}

}  // namespace xfelflow::windows
