// How much noisier than counting each part of a frame is; xfel_apps/compute/local_noise.py is the definition.
#pragma once

#include <xfelflow/frames.hpp>

namespace xfelflow::local_noise {

using namespace xfelflow::frames;

constexpr int window = 7;              ///< side of a window [pixel]
constexpr int reach = 2;               ///< windows on each side that say how noisy it is here
constexpr int min_good = 25;           ///< good pixels that a window needs
constexpr float unknown = -1.0F;

/// The windows of one panel: rows by columns of them, from `first` on.
struct Grid {
  int rows, columns, first;
};

struct Window {
  int panel, row, column;
};

/// Index of dispersion of each window.
template <class Raw>
struct Measure {
  Frame<Raw> frame;
  Array<const Window*> windows;
  Array<float*> index;

  KOKKOS_INLINE_FUNCTION void operator()(const int i) const {
    const Window place = windows(i);
    const Panel panel = frame.panels(place.panel);
    float n = 0.0F, x = 0.0F, y = 0.0F;
    for (int s = place.row * window; s < (place.row + 1) * window; ++s)
      for (int f = place.column * window; f < (place.column + 1) * window; ++f) {
        const Pixel pixel = frame.at(panel, f, s);
        n += pixel.good;
        x += pixel.value;
        y += pixel.value * pixel.value;
      }
    const float expected = panel.gain * (x > 0.0F ? x : 0.0F) + panel.variance * n;
    const bool enough = n >= min_good && expected > 0.0F;
    index(i) = enough ? (n * y - x * x) / ((n - 1.0F) * expected) : unknown;
  }
};

/// Quantile over the windows about each one, against what counting would give; at least 1.
struct Smooth {
  Array<const Grid*> grids;
  Array<const Window*> windows;
  Array<const float*> index;
  float quantile, typical;
  Array<float*> excess;

  KOKKOS_INLINE_FUNCTION void operator()(const int i) const {
    const Window place = windows(i);
    const Grid grid = grids(place.panel);
    float sorted[(2 * reach + 1) * (2 * reach + 1)];
    int n = 0;
    for (int r = place.row - reach; r <= place.row + reach; ++r)
      for (int c = place.column - reach; c <= place.column + reach; ++c) {
        if (r < 0 || c < 0 || r >= grid.rows || c >= grid.columns) continue;
        const float value = index(grid.first + r * grid.columns + c);
        if (value == unknown) continue;
        int k = n++;
        for (; k > 0 && sorted[k - 1] > value; --k) sorted[k] = sorted[k - 1];
        sorted[k] = value;
      }
    const float found = n > 0 ? sorted[static_cast<int>(quantile * (n - 1))] / typical : 1.0F;
    excess(i) = found > 1.0F ? found : 1.0F;
  }
};

/// Spread the windows' values over their pixels; the last windows reach to the panel's edge.
struct Spread {
  Array<const Panel*> panels;
  Array<const Grid*> grids;
  Array<const Tile*> tiles;
  Array<const float*> excess;
  Array<float**> map;

  KOKKOS_INLINE_FUNCTION void operator()(const int index) const {
    const Tile tile = tiles(index);
    const Panel panel = panels(tile.panel);
    const Grid grid = grids(tile.panel);
    const bool none = grid.rows == 0 || grid.columns == 0;
    for (int s = tile.slow; s < tile.slow + tile.height; ++s)
      for (int f = tile.fast; f < tile.fast + tile.width; ++f) {
        const int row = s / window < grid.rows ? s / window : grid.rows - 1;
        const int column = f / window < grid.columns ? f / window : grid.columns - 1;
        map(panel.slow + s, panel.fast + f) = none ? 1.0F : excess(grid.first + row * grid.columns + column);
      }
  }
};

}  // namespace xfelflow::local_noise
