#include <cmath>
#include <limits>
#include <xfelflow/radial.hpp>

#include "arguments.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::bindings;
using namespace xfelflow::radial;

namespace {

using Range = Kokkos::RangePolicy<Space>;

/// Mean and standard deviation of each bin from its parts, and what lies above them.
void summarise(const Array<Moments**>& moments, double sigmas, int min_count, double* mean, double* deviation,
               std::vector<float>& limits) {
  const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), moments);
  for (std::size_t b = 0; b < limits.size(); ++b) {
    Moments all{0.0, 0.0, 0.0};
    for (int part = 0; part < n_parts; ++part) {
      all.count += host(part, b).count;
      all.sum += host(part, b).sum;
      all.squares += host(part, b).squares;
    }
    const bool enough = all.count >= min_count;
    mean[b] = enough ? all.sum / all.count : 0.0;
    const double variance = enough ? all.squares / all.count - mean[b] * mean[b] : 0.0;
    deviation[b] = std::sqrt(std::max({variance, mean[b], 0.0}));
    limits[b] = enough ? static_cast<float>(mean[b] + sigmas * deviation[b]) : std::numeric_limits<float>::infinity();
  }
}

template <class Raw>
void radial_strong_pixels(Input<Raw, 2> raw, Input<Byte, 2> mask, Input<std::int32_t, 2> place,
                          Input<float, 2> meaning, Input<Bin, 2> bins, double sigmas, int min_count,
                          int iterations, Output<double, 1> mean, Output<double, 1> deviation, Output<Byte, 2> strong) {
  xfelflow::Runtime::ensure_started();
  const auto panels = make_panels(place, meaning);
  const auto tiles = make_tiles(panels);
  const std::size_t n_bins = mean.shape(0);
  const auto frame = make_frame(raw, mask, panels);
  const auto table = on_device(tiles);
  const auto where = on_device(bins);
  const Array<Moments**> moments("moments", n_parts, n_bins);
  std::vector<float> limits(n_bins, std::numeric_limits<float>::infinity());
  for (int i = 0; i < iterations; ++i) {
    const auto now = on_device(limits);
    Kokkos::parallel_for("radial sums", Range(0, n_parts), AddUp<Raw>{frame, table, where, now, moments});
    Kokkos::fence();
    summarise(moments, sigmas, min_count, mean.data(), deviation.data(), limits);
  }
  const auto result = on_device(strong);
  Kokkos::parallel_for("radial marks", Range(0, tiles.size()),
                       Mark<Raw>{frame, table, where, on_device(limits), result});
  Kokkos::deep_copy(host_view(strong), result);
}

template <class Raw>
void define(nb::module_& m) {
  m.def("radial_strong_pixels", &radial_strong_pixels<Raw>, "frame"_a.noconvert(), "mask"_a, "place"_a, "meaning"_a,
        "bins"_a, "sigmas"_a, "min_count"_a, "iterations"_a, "mean"_a, "deviation"_a, "strong"_a,
        nb::call_guard<nb::gil_scoped_release>(),
        "Fill mean, deviation (n_bins,) and strong (slow, fast) with what xfel_apps.compute.radial defines.");
}

}  // namespace

void register_radial(nb::module_& m) {
  for_pixel_types([&m](auto pixel) { define<decltype(pixel)>(m); });
}
