#include <nanobind/stl/array.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>
#include <xfelflow/forward.hpp>

#include "arguments.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::bindings;
using namespace xfelflow::forward;

namespace {

using Triple = std::array<double, 3>;

std::vector<Block> blocks_of(const Input<long, 2>& sizes) {
  std::vector<Block> blocks;
  long output = 0;
  for (std::size_t r = 0; r < sizes.shape(0); ++r) {
    const long n = sizes(r, 0) * sizes(r, 1);
    for (long first = 0; first < n; first += block_size)
      blocks.push_back({static_cast<int>(r), static_cast<int>(std::min<long>(block_size, n - first)), first, output + first});
    output += n;
  }
  return blocks;
}

/// Mean A^-1 and how far the domains stray from it (the Frobenius norm bounds the spectral one).
void summarise(Crystal& crystal, const Input<double, 3>& inverses) {
  const std::size_t n = inverses.shape(0);
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) {
      double sum = 0.0;
      for (std::size_t d = 0; d < n; ++d) sum += inverses(d, i, j);
      crystal.mean_inverse[i][j] = sum / static_cast<double>(n);
    }
  crystal.spread = 0.0;
  for (std::size_t d = 0; d < n; ++d) {
    double squares = 0.0;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j)
        squares += std::pow(crystal.cells[i] * (inverses(d, i, j) - crystal.mean_inverse[i][j]), 2);
    crystal.spread = std::max(crystal.spread, std::sqrt(squares));
  }
}

Crystal make_crystal(const Input<double, 3>& inverses, const Triple& cells, const Input<double, 3>& intensities,
                     const std::array<int, 3>& lowest) {
  Crystal crystal;
  crystal.inverse = on_device<const double* [3][3]>(inverses.data(), inverses.shape(0));
  crystal.intensity =
      on_device<const double***>(intensities.data(), intensities.shape(0), intensities.shape(1), intensities.shape(2));
  std::copy(cells.begin(), cells.end(), crystal.cells);
  std::copy(lowest.begin(), lowest.end(), crystal.lowest);
  summarise(crystal, inverses);
  return crystal;
}

template <bool gaussian>
void compute(const Rectangles& rectangles, const Crystal& crystal, const Beam& beam, const std::vector<Block>& blocks,
             int oversample, double* out, std::size_t n_pixels) {
  const auto host = host_view<double*>(out, n_pixels);
  auto photons = Kokkos::create_mirror_view(Space::memory_space(), host);
  const double reach = std::sqrt(-0.5 * gaussian_width * std::log(negligible));
  const auto table = on_device(blocks);
  Kokkos::parallel_for(
      "forward", Kokkos::RangePolicy<Space, Kokkos::Schedule<Kokkos::Dynamic>>(0, blocks.size()),
      Photons<gaussian>{rectangles, crystal, beam, table, photons, oversample, reach});
  Kokkos::deep_copy(host, photons);
}

void forward(Input<double, 2> origins_mm, Input<double, 3> axes_mm, Input<long, 2> sizes, Input<double, 3> inverses,
             Triple cells, bool gaussian, Input<double, 3> intensities, std::array<int, 3> lowest,
             Input<double, 1> wavelengths_ang, Input<double, 1> fluences, Triple direction, Triple polarization_normal,
             double polarization_fraction, int oversample, Output<double, 1> photons) {
  xfelflow::Runtime::ensure_started();
  const std::size_t n = sizes.shape(0), n_pixels = photons.shape(0);
  const Rectangles rectangles{on_device<const double* [3]>(origins_mm.data(), n),
                              on_device<const double* [3][2]>(axes_mm.data(), n),
                              on_device<const long* [2]>(sizes.data(), n)};
  const Crystal crystal = make_crystal(inverses, cells, intensities, lowest);
  const Beam beam{on_device(wavelengths_ang), on_device(fluences),
                  {direction[0], direction[1], direction[2]},
                  {polarization_normal[0], polarization_normal[1], polarization_normal[2]},
                  polarization_fraction};
  const std::vector<Block> blocks = blocks_of(sizes);
  (gaussian ? compute<true> : compute<false>)(rectangles, crystal, beam, blocks, oversample, photons.data(), n_pixels);
}

}  // namespace

void register_forward(nb::module_& m) {
  m.def("forward", &forward, "origins_mm"_a, "axes_mm"_a, "sizes"_a, "inverses"_a, "cells"_a, "gaussian"_a,
        "intensities"_a, "lowest"_a, "wavelengths_ang"_a, "fluences"_a, "direction"_a, "polarization_normal"_a,
        "polarization_fraction"_a, "oversample"_a, "photons"_a, nb::call_guard<nb::gil_scoped_release>(),
        "Fill photons (n_pixels,) with what xfel_apps.compute.forward defines.");
}
