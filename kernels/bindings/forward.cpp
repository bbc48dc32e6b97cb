#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>
#include <xfelflow/forward.hpp>

#include "arguments.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::bindings;
using namespace xfelflow::forward;

namespace {

/// A table of structure factors that stays where the kernels run for as long as Python holds it.
class ResidentTable {
 public:
  ResidentTable(Input<double, 3> box, std::array<int, 3> lowest) : box_(std::move(box)) {
    xfelflow::Runtime::ensure_started();
    // Python may hold the table longer than Kokkos lives: what is left then is only the box
    auto factors = std::make_shared<std::optional<StructureFactors>>(StructureFactors{
        on_device<const double***>(box_.data(), box_.shape(0), box_.shape(1), box_.shape(2)),
        {lowest[0], lowest[1], lowest[2]}});
    Kokkos::push_finalize_hook([held = std::weak_ptr(factors)] {
      if (const auto table = held.lock()) table->reset();
    });
    factors_ = std::move(factors);
  }

  const StructureFactors& factors() const {
    if (!*factors_) throw std::runtime_error("the structure factors went with Kokkos, which has ended");
    return **factors_;
  }

 private:
  Input<double, 3> box_;  ///< on a processor the view looks at it
  std::shared_ptr<std::optional<StructureFactors>> factors_;
};

/// Blocks of every rectangle; ends[s]: the rectangle after the last of shot s.
std::vector<Block> blocks_of(const Input<long, 2>& sizes, const Input<long, 1>& ends) {
  std::vector<Block> blocks;
  long output = 0;
  int shot = 0;
  for (std::size_t r = 0; r < sizes.shape(0); ++r) {
    while (static_cast<long>(r) >= ends(shot)) ++shot;
    const long n = sizes(r, 0) * sizes(r, 1);
    for (long first = 0; first < n; first += block_size)
      blocks.push_back({shot, static_cast<int>(r), static_cast<int>(std::min<long>(block_size, n - first)), first, output + first});
    output += n;
  }
  return blocks;
}

/// Mean A^-1 and how far the domains stray from it (the Frobenius norm bounds the spectral one).
void summarise_domains(Shot& shot, const Input<double, 3>& inverses) {
  const auto [begin, end] = shot.domains;
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) {
      double sum = 0.0;
      for (int d = begin; d < end; ++d) sum += inverses(d, i, j);
      shot.mean_inverse[i][j] = sum / (end - begin);
    }
  shot.spread = 0.0;
  for (int d = begin; d < end; ++d) {
    double squares = 0.0;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j)
        squares += std::pow(shot.cells[i] * (inverses(d, i, j) - shot.mean_inverse[i][j]), 2);
    shot.spread = std::max(shot.spread, std::sqrt(squares));
  }
}

void summarise_channels(Shot& shot, const Input<double, 1>& scales) {
  const double* first = scales.data() + shot.channels.begin;
  const auto [low, high] = std::minmax_element(first, scales.data() + shot.channels.end);
  shot.scale = (*low + *high) / 2.0;
  shot.band = (*high - *low) / (*high + *low);
}

/// ends: (n_shots, 3) rows after the last of each shot among domains, channels and rays.
/// constants: (n_shots, 7) cells, polarisation normal and fraction.
std::vector<Shot> shots_of(const Input<long, 2>& ends, const Input<double, 2>& constants,
                           const Input<double, 3>& inverses, const Input<double, 1>& scales) {
  std::vector<Shot> shots(ends.shape(0));
  for (std::size_t s = 0; s < shots.size(); ++s) {
    Shot& shot = shots[s];
    const auto range = [&](int table) {
      return Range{s == 0 ? 0 : static_cast<int>(ends(s - 1, table)), static_cast<int>(ends(s, table))};
    };
    shot.domains = range(0), shot.channels = range(1), shot.rays = range(2);
    for (int i = 0; i < 3; ++i) shot.cells[i] = constants(s, i);
    shot.polarization_normal = {constants(s, 3), constants(s, 4), constants(s, 5)};
    shot.polarization_fraction = constants(s, 6);
    summarise_domains(shot, inverses);
    summarise_channels(shot, scales);
  }
  return shots;
}

template <Shape shape, bool tricubic>
void compute(const Rectangles& rectangles, const Tables& tables, const StructureFactors& factors,
             const std::vector<Block>& blocks, const Sampling& sampling, const Output<double, 1>& out) {
  const auto host = xfelflow::host_view<double*>(out.data(), out.shape(0));
  auto photons = Kokkos::create_mirror_view(Space::memory_space(), host);
  const auto table = on_device(blocks);
  Kokkos::parallel_for("forward", Kokkos::RangePolicy<Space, Kokkos::Schedule<Kokkos::Dynamic>>(0, blocks.size()),
                       Photons<shape, tricubic>{rectangles, tables, factors, table, photons, sampling});
  Kokkos::deep_copy(host, photons);
}

template <Shape shape, class... Arguments>
void compute_shape(bool tricubic, const Arguments&... arguments) {
  tricubic ? compute<shape, true>(arguments...) : compute<shape, false>(arguments...);
}

template <class... Arguments>
void compute_named(const std::string& shape, bool tricubic, const Arguments&... arguments) {
  if (shape == "gaussian") return compute_shape<Shape::gaussian>(tricubic, arguments...);
  if (shape == "square") return compute_shape<Shape::square>(tricubic, arguments...);
  if (shape == "round") return compute_shape<Shape::round>(tricubic, arguments...);
  if (shape == "tophat") return compute_shape<Shape::tophat>(tricubic, arguments...);
  throw std::invalid_argument("shape " + shape + ": not gaussian, square, round or tophat");
}

void forward(Input<double, 2> origins_mm, Input<double, 3> axes_mm, Input<long, 2> sizes, Input<long, 1> rectangle_ends,
             Input<long, 2> ends, Input<double, 2> constants, Input<double, 3> inverses, Input<double, 1> scales,
             Input<double, 1> fluences, Input<double, 2> directions, Input<double, 1> weights,
             const ResidentTable& resident, std::string shape, bool tricubic, int oversample, bool polarization_at_last,
             int layers, double thickness_mm, double attenuation_mm, Output<double, 1> photons) {
  xfelflow::Runtime::ensure_started();
  const std::size_t n = sizes.shape(0);
  const Rectangles rectangles{on_device<const double* [3]>(origins_mm.data(), n),
                              on_device<const double* [3][2]>(axes_mm.data(), n),
                              on_device<const long* [2]>(sizes.data(), n)};
  const std::vector<Shot> shots = shots_of(ends, constants, inverses, scales);
  const Tables tables{on_device(shots),
                      on_device<const double* [3][3]>(inverses.data(), inverses.shape(0)),
                      on_device(scales),
                      on_device(fluences),
                      on_device<const double* [3]>(directions.data(), directions.shape(0)),
                      on_device(weights)};
  const std::vector<Block> blocks = blocks_of(sizes, rectangle_ends);
  const Sampling sampling{oversample, polarization_at_last, layers, thickness_mm, attenuation_mm};
  compute_named(shape, tricubic, rectangles, tables, resident.factors(), blocks, sampling, photons);
}

}  // namespace

void register_forward(nb::module_& m) {
  nb::class_<ResidentTable>(m, "ResidentTable", "Structure factors where the kernels run.")
      .def(nb::init<Input<double, 3>, std::array<int, 3>>(), "box"_a, "lowest"_a);
  m.def("forward", &forward, "origins_mm"_a, "axes_mm"_a, "sizes"_a, "rectangle_ends"_a, "ends"_a, "constants"_a,
        "inverses"_a, "scales"_a, "fluences"_a, "directions"_a, "weights"_a, "resident"_a, "shape"_a, "tricubic"_a,
        "oversample"_a, "polarization_at_last"_a, "layers"_a, "thickness_mm"_a, "attenuation_mm"_a, "photons"_a,
        nb::call_guard<nb::gil_scoped_release>(),
        "Fill photons (n_pixels,) with what xfel_apps.compute.forward_reference defines, shot after shot.");
}
