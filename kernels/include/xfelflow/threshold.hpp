// Strong pixels by local dispersion; xfel_apps/compute/threshold.py is the definition.
#pragma once

#include <xfelflow/frames.hpp>

namespace xfelflow::threshold {

using namespace xfelflow::frames;

constexpr int max_half = 7;              ///< largest half width of a window

struct Method {
  int half_wide;                         ///< half width of the wide background
  float sigma_background, sigma_strong;
  float min_count;
  bool extended;
  bool has_excess;                       ///< whether a map says how much noisier than counting a pixel is
};

/// What the first step says of a pixel; a plain threshold ends there with 0 or 1.
enum State : Byte { not_good = 0, background = 1, signal = 2 };

/// First step: dispersion in the window around each pixel.
template <class Raw, int half>
struct FindSignal {
  static constexpr int rows = 2 * half + 1, padded = tile_width + 2 * half;
  Frame<Raw> frame;
  Method method;
  Array<const Tile*> tiles;
  Array<const float**> excess;
  Array<Byte**> state;
  Array<Byte*> any;                      ///< of each tile: whether anything was found

  /// Good pixels, sum and sum of squares.
  enum { count, sum, squares, moments };
  using Row = float[moments][tile_width];

  KOKKOS_INLINE_FUNCTION void operator()(const int index) const {
    const Tile tile = tiles(index);
    const Panel panel = frame.panels(tile.panel);
    Row sums[rows], own[rows];  // of the last rows: sums along them, and their pixels
    bool found = false;
    for (int line = tile.slow - half; line < tile.slow + tile.height + half; ++line) {
      const int newest = (line - tile.slow + half) % rows;
      sum_along(tile, panel, line, sums[newest], own[newest]);
      if (line - half >= tile.slow) found |= judge(tile, panel, line - half, sums, own[(newest + half + 1) % rows]);
    }
    any(index) = found;
  }

  KOKKOS_INLINE_FUNCTION void sum_along(const Tile& tile, const Panel& panel, int line, Row& sums, Row& own) const {
    float row[moments][padded];
    if (line >= 0 && line < panel.height)
      load(tile, panel, line, row);
    else
      for (int m = 0; m < moments; ++m)
        for (int i = 0; i < padded; ++i) row[m][i] = 0.0F;
    for (int m = 0; m < moments; ++m) {
      XFELFLOW_SIMD()
      for (int i = 0; i < tile_width; ++i) {
        float total = row[m][i];
        for (int j = 1; j < rows; ++j) total += row[m][i + j];
        sums[m][i] = total;
        own[m][i] = row[m][i + half];
      }
    }
  }

  /// Fill a row that begins half a window before the tile; beyond the panel nothing is good.
  KOKKOS_INLINE_FUNCTION void load(const Tile& tile, const Panel& panel, int line,
                                   float (&row)[moments][padded]) const {
    const int before = tile.fast - half;
    const int first = before < 0 ? -before : 0;
    const int last = before + padded > panel.width ? panel.width - before : padded;
    for (int m = 0; m < moments; ++m) {
      for (int i = 0; i < first; ++i) row[m][i] = 0.0F;
      for (int i = last; i < padded; ++i) row[m][i] = 0.0F;
    }
    const Raw* raw = &frame.raw(panel.slow + line, panel.fast);
    const Byte* mask = &frame.mask(panel.slow + line, panel.fast);
    const float lowest = panel.lowest, highest = panel.highest;
    XFELFLOW_SIMD()
    for (int i = first; i < last; ++i) {
      const Pixel pixel = trusted(raw[before + i], mask[before + i], lowest, highest);
      row[count][i] = pixel.good;
      row[sum][i] = pixel.value;
      row[squares][i] = pixel.value * pixel.value;
    }
  }

  KOKKOS_INLINE_FUNCTION bool judge(const Tile& tile, const Panel& panel, int line, const Row (&sums)[rows],
                                    const Row& own) const {
    float result[tile_width], factor[tile_width], most = 0.0F;
    for (int i = 0; i < tile_width; ++i) factor[i] = 1.0F;
    if (method.has_excess) {
      const float* map = &excess(panel.slow + line, panel.fast + tile.fast);
      for (int i = 0; i < tile.width; ++i) factor[i] = map[i];
    }
    const float gain = panel.gain, variance = panel.variance, min_count = method.min_count;
    const float two_squares = 2.0F * method.sigma_background * method.sigma_background;
    const float strong_square = method.extended ? 0.0F : method.sigma_strong * method.sigma_strong;
    XFELFLOW_SIMD(reduction(max : most))
    for (int i = 0; i < tile_width; ++i) {
      float n = 0.0F, x = 0.0F, y = 0.0F;
      for (int r = 0; r < rows; ++r) {
        n += sums[r][count][i];
        x += sums[r][sum][i];
        y += sums[r][squares][i];
      }
      const float expected = (gain * x + variance * n) * factor[i];
      // squared instead of a square root: both sides are positive where it counts
      const float excess = n * y - x * x - expected * (n - 1.0F), height = n * own[sum][i] - x;
      const float spread = expected * expected * two_squares * (n - 1.0F), noise = strong_square * n * expected;
      const float is_signal = own[count][i] * (n >= min_count ? 1.0F : 0.0F) * (x >= 0.0F ? 1.0F : 0.0F) *
                              (excess > 0.0F ? 1.0F : 0.0F) * (excess * excess > spread ? 1.0F : 0.0F);
      const float is_strong = (height > 0.0F ? 1.0F : 0.0F) * (height * height > noise ? 1.0F : 0.0F);
      result[i] = strong_square > 0.0F ? is_signal * is_strong : own[count][i] + is_signal;
      most = is_signal > most ? is_signal : most;
    }
    Byte* out = &state(panel.slow + line, panel.fast + tile.fast);
    for (int i = 0; i < tile.width; ++i) out[i] = static_cast<Byte>(static_cast<int>(result[i]));
    return most > 0.0F;
  }
};

/// Second step: keep signal that has no background within half a window.
template <int half>
struct Erode {
  static constexpr int rows = 2 * half + 1, padded = tile_width + 2 * half;
  Array<const Panel*> panels;
  Array<const Tile*> tiles;
  Array<const Byte**> state;
  Array<const Byte*> any;
  Array<Byte**> core;

  KOKKOS_INLINE_FUNCTION void operator()(const int index) const {
    const Tile tile = tiles(index);
    const Panel panel = panels(tile.panel);
    if (!any(index)) return clear(tile, panel);
    Byte ring[rows][tile_width];
    for (int line = tile.slow - half; line < tile.slow + tile.height + half; ++line) {
      join_along(tile, panel, line, ring[(line - tile.slow + half) % rows]);
      if (line - half >= tile.slow) keep(tile, panel, line - half, ring);
    }
  }

  KOKKOS_INLINE_FUNCTION void clear(const Tile& tile, const Panel& panel) const {
    for (int line = tile.slow; line < tile.slow + tile.height; ++line) {
      Byte* out = &core(panel.slow + line, panel.fast + tile.fast);
      for (int i = 0; i < tile.width; ++i) out[i] = 0;
    }
  }

  KOKKOS_INLINE_FUNCTION void join_along(const Tile& tile, const Panel& panel, int line,
                                         Byte (&joined)[tile_width]) const {
    for (int i = 0; i < tile_width; ++i) joined[i] = 0;
    if (line < 0 || line >= panel.height) return;
    Byte row[padded];
    const int before = tile.fast - half;
    const int first = before < 0 ? -before : 0;
    const int last = before + padded > panel.width ? panel.width - before : padded;
    const Byte* states = &state(panel.slow + line, panel.fast);
    for (int i = 0; i < first; ++i) row[i] = 0;
    for (int i = first; i < last; ++i) row[i] = states[before + i];
    for (int i = last; i < padded; ++i) row[i] = 0;
    for (int j = 0; j < rows; ++j) {
      XFELFLOW_SIMD()
      for (int i = 0; i < tile_width; ++i) joined[i] |= row[i + j];
    }
  }

  KOKKOS_INLINE_FUNCTION void keep(const Tile& tile, const Panel& panel, int line,
                                   const Byte (&ring)[rows][tile_width]) const {
    Byte joined[tile_width] = {};
    for (int r = 0; r < rows; ++r) {
      XFELFLOW_SIMD()
      for (int i = 0; i < tile_width; ++i) joined[i] |= ring[r][i];
    }
    const Byte* states = &state(panel.slow + line, panel.fast + tile.fast);
    Byte* out = &core(panel.slow + line, panel.fast + tile.fast);
    XFELFLOW_SIMD()
    for (int i = 0; i < tile.width; ++i)
      out[i] = static_cast<Byte>((states[i] == signal) & ((joined[i] & background) == 0));
  }
};

/// Third step: core pixels that rise above the background around them. Few pixels get here.
template <class Raw>
struct Rise {
  Frame<Raw> frame;
  Method method;
  Array<const Tile*> tiles;
  Array<const float**> excess;
  Array<const Byte**> core;
  Array<const Byte*> any;
  Array<Byte**> strong;

  KOKKOS_INLINE_FUNCTION void operator()(const int index) const {
    const Tile tile = tiles(index);
    const Panel panel = frame.panels(tile.panel);
    const bool wanted = any(index) != 0;
    for (int line = tile.slow; line < tile.slow + tile.height; ++line) {
      Byte* out = &strong(panel.slow + line, panel.fast + tile.fast);
      const Byte* in = &core(panel.slow + line, panel.fast + tile.fast);
      for (int i = 0; i < tile.width; ++i) out[i] = 0;
      for (int i = 0; wanted && i < tile.width; ++i)
        if (in[i]) out[i] = rises(panel, tile.fast + i, line);
    }
  }

  KOKKOS_INLINE_FUNCTION bool rises(const Panel& panel, int fast, int slow) const {
    const int half = method.half_wide;
    const int f0 = fast < half ? 0 : fast - half, f1 = fast + half < panel.width ? fast + half : panel.width - 1;
    const int s0 = slow < half ? 0 : slow - half, s1 = slow + half < panel.height ? slow + half : panel.height - 1;
    float n = 0.0F, x = 0.0F;
    for (int s = s0; s <= s1; ++s)
      for (int f = f0; f <= f1; ++f) {
        const Pixel pixel = frame.at(panel, f, s);
        const bool counts = (pixel.good > 0.0F) & (core(panel.slow + s, panel.fast + f) == 0);
        n += counts ? 1.0F : 0.0F;
        x += counts ? pixel.value : 0.0F;
      }
    const float mean = n > 0.0F ? x / n : 0.0F;
    const float height = frame.at(panel, fast, slow).value - mean;
    const float factor = method.has_excess ? excess(panel.slow + slow, panel.fast + fast) : 1.0F;
    const float expected = (panel.gain * (mean > 0.0F ? mean : 0.0F) + panel.variance) * factor;
    return n > 0.0F && height > 0.0F && height * height > method.sigma_strong * method.sigma_strong * expected;
  }
};

}  // namespace xfelflow::threshold
