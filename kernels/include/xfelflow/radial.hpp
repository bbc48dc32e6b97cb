// Strong pixels above the background at their radius; xfel_apps/compute/radial.py is the definition.
#pragma once

#include <xfelflow/frames.hpp>

namespace xfelflow::radial {

using namespace xfelflow::frames;

using Bin = std::uint16_t;
constexpr Bin no_bin = 0xFFFF;

/// Number, sum and sum of squares of the pixels of a bin [photon].
struct Moments {
  double count, sum, squares;
};

/// Part of the frame's tiles that one thread adds up on its own; fixed, so that sums do not depend on threads.
constexpr int n_parts = 16;

/// Add up the pixels of each bin that lie at or below the bin's limit.
template <class Raw>
struct AddUp {
  Frame<Raw> frame;
  Array<const Tile*> tiles;
  Array<const Bin**> bins;
  Array<const float*> limits;            ///< of each bin [photon]
  Array<Moments**> moments;              ///< of each part and bin

  KOKKOS_INLINE_FUNCTION void operator()(const int part) const {
    const int n_bins = static_cast<int>(limits.extent(0)), n_tiles = static_cast<int>(tiles.extent(0));
    for (int b = 0; b < n_bins; ++b) moments(part, b) = {0.0, 0.0, 0.0};
    for (int t = n_tiles * part / n_parts; t < n_tiles * (part + 1) / n_parts; ++t) add(tiles(t), part, n_bins);
  }

  KOKKOS_INLINE_FUNCTION void add(const Tile& tile, int part, int n_bins) const {
    const Panel panel = frame.panels(tile.panel);
    const float scale = 1.0F / panel.gain;
    for (int line = tile.slow; line < tile.slow + tile.height; ++line) {
      const Bin* row = &bins(panel.slow + line, panel.fast);
      for (int i = tile.fast; i < tile.fast + tile.width; ++i) {
        if (row[i] >= n_bins) continue;
        const Pixel pixel = frame.at(panel, i, line);
        const float photons = pixel.value * scale;
        const double counts = pixel.good > 0.0F && photons <= limits(row[i]) ? 1.0 : 0.0;
        Moments& all = moments(part, row[i]);
        all.count += counts;
        all.sum += counts * photons;
        all.squares += counts * photons * photons;
      }
    }
  }
};

/// Mark the pixels above the limit of their bin.
template <class Raw>
struct Mark {
  Frame<Raw> frame;
  Array<const Tile*> tiles;
  Array<const Bin**> bins;
  Array<const float*> limits;
  Array<Byte**> strong;

  KOKKOS_INLINE_FUNCTION void operator()(const int index) const {
    const Tile tile = tiles(index);
    const Panel panel = frame.panels(tile.panel);
    const int n_bins = static_cast<int>(limits.extent(0));
    const float scale = 1.0F / panel.gain;
    for (int line = tile.slow; line < tile.slow + tile.height; ++line)
      for (int i = tile.fast; i < tile.fast + tile.width; ++i) {
        const Bin bin = bins(panel.slow + line, panel.fast + i);
        const Pixel pixel = frame.at(panel, i, line);
        strong(panel.slow + line, panel.fast + i) =
            bin < n_bins && pixel.good > 0.0F && pixel.value * scale > limits(bin < n_bins ? bin : 0);
      }
  }
};

}  // namespace xfelflow::radial
