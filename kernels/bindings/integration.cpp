#include <cstdint>
#include <xfelflow/integration.hpp>

#include "arguments.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::bindings;
using namespace xfelflow::integration;

namespace {

using Table = nb::ndarray<double, nb::shape<-1, n_sums>, nb::c_contig, nb::device::cpu>;

template <class Pixel>
void integrate(Input<Pixel, 2> frame, Input<unsigned char, 2> good, Input<long, 1> panel, Input<double, 2> centre,
               Input<double, 3> to_profile, Input<long, 1> half, Input<long, 1> starts, Input<long, 1> neighbours,
               Input<long, 2> panels, Input<double, 1> photons_per_adu, Input<double, 1> bottom_adu,
               Input<double, 1> top_adu, double variance, Input<double, 2> profile, double guard,
               double outlier_sigmas, Table sums) {
  xfelflow::Runtime::ensure_started();
  const std::size_t n = panel.shape(0);
  const Windows windows{on_device(panel), on_device<const double* [2]>(centre.data(), n),
                        on_device<const double* [2][2]>(to_profile.data(), n), on_device(half),
                        on_device(starts), on_device(neighbours)};
  const Readout readout{on_device<const long* [4]>(panels.data(), panels.shape(0)), on_device(photons_per_adu),
                        on_device(bottom_adu), on_device(top_adu), variance};
  const Recipe recipe{on_device(profile), guard * guard, outlier_sigmas};
  const auto host = host_view<double* [n_sums]>(sums.data(), n);
  auto table = Kokkos::create_mirror_view(Space::memory_space(), host);
  Kokkos::parallel_for(
      "integrate", Kokkos::RangePolicy<Space, Kokkos::Schedule<Kokkos::Dynamic>>(0, n),
      Integrate<Pixel>{on_device(frame), on_device(good), windows, readout, recipe, table});
  Kokkos::deep_copy(host, table);
}

template <class Pixel>
void define(nb::module_& m) {
  m.def("integrate", &integrate<Pixel>, "frame"_a.noconvert(), "good"_a, "panel"_a, "centre"_a, "to_profile"_a,
        "half_px"_a, "starts"_a, "neighbours"_a, "panels"_a, "photons_per_adu"_a, "bottom_adu"_a,
        "top_adu"_a, "variance"_a, "profile"_a, "guard"_a, "outlier_sigmas"_a, "sums"_a,
        nb::call_guard<nb::gil_scoped_release>(),
        "Fill sums (n, 21) with what xfel_apps.compute.integration_reference defines.");
}

}  // namespace

void register_integration(nb::module_& m) {
  for_pixel_types([&m](auto pixel) { define<decltype(pixel)>(m); });
}
