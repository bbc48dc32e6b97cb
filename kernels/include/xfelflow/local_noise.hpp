// How much noisier than counting each part of a frame is; xfel_apps/compute/local_noise.py is the definition.
#pragma once

#include <xfelflow/windows.hpp>

namespace xfelflow::local_noise {

using namespace xfelflow::windows;

constexpr int window = 7;              ///< side of a window [pixel]
constexpr int reach = 2;               ///< windows on each side that say how noisy it is here
constexpr int min_good = 25;           ///< good pixels that a window needs
constexpr float unknown = -1.0F;

/// The windows of one panel: rows by columns of them, from `first` on.
struct Grid {
  int rows, columns, first;
};

/// One row of windows of a panel.
struct Row {
  int panel, row;
};

inline std::vector<Grid> make_grids(const std::vector<Panel>& panels) {
  std::vector<Grid> grids;
  int first = 0;
  for (const Panel& panel : panels) {
    grids.push_back({panel.height / window, panel.width / window, first});
    first += grids.back().rows * grids.back().columns;
  }
  return grids;
}

inline std::vector<Row> make_rows(const std::vector<Grid>& grids) {
  std::vector<Row> rows;
  for (std::size_t i = 0; i < grids.size(); ++i)
    for (int row = 0; row < grids[i].rows; ++row) rows.push_back({static_cast<int>(i), row});
  return rows;
}

/// Index of dispersion of each window, a row of them at a time.
template <class Raw>
struct Measure {
  static constexpr int n_together = 73, outer = n_together * window, inner = outer - window + 1;
  Frame<Raw> frame;
  Array<const Grid*> grids;
  Array<const Row*> rows;
  Array<float*> index;

  KOKKOS_INLINE_FUNCTION void operator()(const int i) const {
    const Row place = rows(i);
    const Grid grid = grids(place.panel);
    const Panel panel = frame.panels(place.panel);
    for (int column = 0; column < grid.columns; column += n_together) {
      const int n = column + n_together < grid.columns ? n_together : grid.columns - column;
      measure(panel, column * window, place.row * window, n, &index(grid.first + place.row * grid.columns + column));
    }
  }

  KOKKOS_INLINE_FUNCTION void measure(const Panel& panel, int fast, int slow, int n_windows, float* out) const {
    float sums[moments][outer], slid[moments][inner], each[moments][n_together];
    sum_down<window>(frame, panel, fast, slow, sums);
    for (int m = 0; m < moments; ++m) {
      slide<window>(sums[m], slid[m]);
      for (int i = 0; i < n_together; ++i) each[m][i] = slid[m][i * window];
    }
    const float gain = panel.gain, variance = panel.variance;
    XFELFLOW_SIMD()
    for (int i = 0; i < n_windows; ++i) {
      const float n = each[count][i], x = each[sum][i], y = each[squares][i];
      const float expected = gain * (x > 0.0F ? x : 0.0F) + variance * n;
      const bool enough = (n >= min_good) & (expected > 0.0F);
      const float scale = enough ? (n - 1.0F) * expected : 1.0F;
      out[i] = enough ? (n * y - x * x) / scale : unknown;
    }
  }
};

/// Quantile over the windows about each one, against what counting would give; at least 1. Many windows at once are
/// sorted by one network.
struct Smooth {
  static constexpr int side = 2 * reach + 1, n_about = side * side, lanes = 16;
  using Sorted = float[n_about][lanes];
  Array<const Grid*> grids;
  Array<const Row*> rows;
  Array<const float*> index;
  float quantile, typical;
  Array<float*> excess;

  KOKKOS_INLINE_FUNCTION void operator()(const int i) const {
    const Row place = rows(i);
    const Grid grid = grids(place.panel);
    for (int column = 0; column < grid.columns; column += lanes) {
      Sorted about;
      float known[lanes] = {};
      gather(grid, place.row, column, about, known);
      sort(about);
      const int n = column + lanes < grid.columns ? lanes : grid.columns - column;
      select(about, known, n, &excess(grid.first + place.row * grid.columns + column));
    }
  }

  /// What lies about `lanes` windows; infinity for what is not known.
  KOKKOS_INLINE_FUNCTION void gather(const Grid& grid, int row, int column, Sorted& about, float (&known)[lanes]) const {
    for (int r = 0; r < side; ++r) {
      float line[lanes + 2 * reach];
      for (int i = 0; i < lanes + 2 * reach; ++i) {
        const int at = row + r - reach, c = column + i - reach;
        const bool inside = at >= 0 && c >= 0 && at < grid.rows && c < grid.columns;
        const float value = inside ? index(grid.first + at * grid.columns + c) : unknown;
        line[i] = value == unknown ? infinity : value;
      }
      for (int c = 0; c < side; ++c)
        for (int i = 0; i < lanes; ++i) {
          about[r * side + c][i] = line[i + c];
          known[i] += line[i + c] < infinity ? 1.0F : 0.0F;
        }
    }
  }

  /// Batcher's merge exchange (Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M).
  KOKKOS_INLINE_FUNCTION static void sort(Sorted& about) {
    constexpr int most = 16;  // the greatest power of two below n_about
    static_assert(most < n_about && n_about <= 2 * most);
    for (int p = most; p > 0; p /= 2)
      for (int q = most, r = 0, d = p; d > 0; d = q - p, q /= 2, r = p)
        for (int i = 0; i < n_about - d; ++i)
          if ((i & p) == r) exchange(about[i], about[i + d]);
  }

  KOKKOS_INLINE_FUNCTION static void exchange(float (&low)[lanes], float (&high)[lanes]) {
    XFELFLOW_SIMD()
    for (int i = 0; i < lanes; ++i) {
      const float a = low[i], b = high[i];
      low[i] = a < b ? a : b;
      high[i] = a < b ? b : a;
    }
  }

  KOKKOS_INLINE_FUNCTION void select(const Sorted& about, const float (&known)[lanes], int n, float* out) const {
    float found[lanes];
    int rank[lanes];
    for (int i = 0; i < lanes; ++i) rank[i] = known[i] > 0.0F ? static_cast<int>(quantile * (known[i] - 1.0F)) : -1;
    for (int i = 0; i < lanes; ++i) found[i] = typical;
    for (int k = 0; k < n_about; ++k)
      for (int i = 0; i < lanes; ++i) found[i] = rank[i] == k ? about[k][i] : found[i];
    for (int i = 0; i < n; ++i) out[i] = found[i] > typical ? found[i] / typical : 1.0F;
  }
};

/// The excess of each pixel, that of its window; the last windows reach to the panel's edge.
struct Map {
  Array<const Grid*> grids;
  Array<const float*> excess;            ///< of each window; none: 1 everywhere

  /// Of n pixels of a row of a panel, from column `fast` on; clamped to the panel.
  template <int n>
  KOKKOS_INLINE_FUNCTION void row(int index, const Panel& panel, int fast, int slow, float (&factor)[n]) const {
    for (int i = 0; i < n; ++i) factor[i] = 1.0F;
    if (excess.extent(0) == 0) return;
    const Grid grid = grids(index);
    if (grid.rows == 0 || grid.columns == 0) return;
    const int at = slow / window < grid.rows ? slow / window : grid.rows - 1, last = grid.columns - 1;
    const float* values = &excess(grid.first + at * grid.columns);
    const int begin = fast < 0 ? -fast : 0;
    const int end = fast + n < panel.width ? n : panel.width - fast;
    for (int i = begin; i < end; ++i) {
      const int column = (fast + i) / window;
      factor[i] = values[column < last ? column : last];
    }
  }
};

}  // namespace xfelflow::local_noise
