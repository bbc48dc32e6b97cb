#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cmath>
#include <limits>
#include <xfelflow/radial.hpp>
#include <xfelflow/runtime.hpp>

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::radial;

namespace {

template <class T>
using Matrix = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Profile = nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
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
void radial_strong_pixels(Matrix<const Raw> raw, Matrix<const Byte> mask, Matrix<const std::int32_t> place,
                          Matrix<const float> meaning, Matrix<const Bin> bins, double sigmas, int min_count,
                          int iterations, Profile mean, Profile deviation, Matrix<Byte> strong) {
  xfelflow::Runtime::ensure_started();
  const auto panels = make_panels(place.data(), meaning.data(), place.shape(0));
  const auto tiles = make_tiles(panels);
  const std::size_t n_slow = raw.shape(0), n_fast = raw.shape(1), n_bins = mean.shape(0);
  const Frame<Raw> frame{on_device<const Raw**>(raw.data(), n_slow, n_fast),
                         on_device<const Byte**>(mask.data(), n_slow, n_fast),
                         on_device<const Panel*>(panels.data(), panels.size())};
  const auto table = on_device<const Tile*>(tiles.data(), tiles.size());
  const auto where = on_device<const Bin**>(bins.data(), n_slow, n_fast);
  const Array<Moments**> moments("moments", n_parts, n_bins);
  std::vector<float> limits(n_bins, std::numeric_limits<float>::infinity());
  for (int i = 0; i < iterations; ++i) {
    const auto now = on_device<const float*>(limits.data(), n_bins);
    Kokkos::parallel_for("radial sums", Range(0, n_parts), AddUp<Raw>{frame, table, where, now, moments});
    Kokkos::fence();
    summarise(moments, sigmas, min_count, mean.data(), deviation.data(), limits);
  }
  Kokkos::View<Byte**, Kokkos::LayoutRight, Kokkos::HostSpace, Kokkos::MemoryUnmanaged> host(strong.data(), n_slow,
                                                                                              n_fast);
  const auto result = Kokkos::create_mirror_view_and_copy(Space::memory_space(), host);
  Kokkos::parallel_for("radial marks", Range(0, tiles.size()),
                       Mark<Raw>{frame, table, where, on_device<const float*>(limits.data(), n_bins), result});
  Kokkos::deep_copy(host, result);
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
  define<std::uint8_t>(m);
  define<std::int16_t>(m);
  define<std::uint16_t>(m);
  define<std::int32_t>(m);
  define<std::uint32_t>(m);
  define<float>(m);
  define<double>(m);
}
