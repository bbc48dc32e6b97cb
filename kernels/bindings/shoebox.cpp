#include <nanobind/stl/array.h>

#include <algorithm>
#include <array>
#include <vector>
#include <xfelflow/shoebox_likelihood.hpp>

#include "arguments.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::bindings;
using namespace xfelflow::shoebox;

namespace {

using Triple = std::array<double, 3>;

Boxes make_boxes(const Input<double, 2>& origins_mm, const Input<double, 3>& axes_mm, const Input<long, 2>& sizes,
                 const Input<double, 2>& spots, std::vector<long>& first) {
  const std::size_t n = sizes.shape(0);
  first.resize(n);
  long pixels = 0;
  for (std::size_t box = 0; box < n; ++box) {
    first[box] = pixels;
    pixels += sizes(box, 0) * sizes(box, 1);
  }
  return {xfelflow::on_device<const double* [3]>(origins_mm.data(), n),
          xfelflow::on_device<const double* [3][2]>(axes_mm.data(), n),
          xfelflow::on_device<const long* [2]>(sizes.data(), n), xfelflow::on_device<const long*>(first.data(), n),
          xfelflow::on_device<const double* [n_spot]>(spots.data(), n)};
}

Beam make_beam(double wavelength_ang, const Triple& direction, const Triple& normal, double fraction) {
  Beam beam;
  beam.wavelength_ang = wavelength_ang;
  std::copy(direction.begin(), direction.end(), beam.direction);
  std::copy(normal.begin(), normal.end(), beam.polarization_normal);
  beam.polarization_fraction = fraction;
  return beam;
}

template <class Functor>
void run(const char* name, std::size_t n, const Functor& functor) {
  Kokkos::parallel_for(name, Kokkos::RangePolicy<Space>(0, static_cast<int>(n)), functor);
}

/// An array of the caller's, and one where the kernels run that ends up in it.
template <class View>
auto where_kernels_run(const View& host) {
  return Kokkos::create_mirror_view(Space::memory_space(), host);
}

void photons(Input<double, 2> origins_mm, Input<double, 3> axes_mm, Input<long, 2> sizes, Input<double, 2> spots,
             double wavelength_ang, Triple direction, Triple normal, double fraction, int oversample,
             Output<double, 1> out) {
  xfelflow::Runtime::ensure_started();
  std::vector<long> first;
  const Boxes boxes = make_boxes(origins_mm, axes_mm, sizes, spots, first);
  const Beam beam = make_beam(wavelength_ang, direction, normal, fraction);
  const auto host = xfelflow::host_view<double*>(out.data(), out.shape(0));
  const auto device = where_kernels_run(host);
  run("shoebox photons", first.size(), Photons{{boxes, beam, oversample}, device});
  Kokkos::deep_copy(host, device);
}

void derivatives(Input<double, 2> origins_mm, Input<double, 3> axes_mm, Input<long, 2> sizes, Input<double, 2> spots,
                 double wavelength_ang, Triple direction, Triple normal, double fraction, int oversample,
                 Output<double, 1> out, Output<double, 2> columns) {
  xfelflow::Runtime::ensure_started();
  std::vector<long> first;
  const Boxes boxes = make_boxes(origins_mm, axes_mm, sizes, spots, first);
  const Beam beam = make_beam(wavelength_ang, direction, normal, fraction);
  const auto host = xfelflow::host_view<double*>(out.data(), out.shape(0));
  const auto host_columns = host_view(columns);
  const auto device = where_kernels_run(host);
  const auto device_columns = where_kernels_run(host_columns);
  run("shoebox derivatives", first.size(), Derivatives{{boxes, beam, oversample}, device, device_columns});
  Kokkos::deep_copy(host, device);
  Kokkos::deep_copy(host_columns, device_columns);
}

void likelihood(Input<double, 2> origins_mm, Input<double, 3> axes_mm, Input<long, 2> sizes, Input<double, 2> spots,
                double wavelength_ang, Triple direction, Triple normal, double fraction, int oversample,
                Input<float, 1> observed, Input<float, 1> noise, Output<double, 1> misfit,
                Output<double, 2> gradient, Output<double, 3> curvature) {
  xfelflow::Runtime::ensure_started();
  std::vector<long> first;
  const Boxes boxes = make_boxes(origins_mm, axes_mm, sizes, spots, first);
  const Beam beam = make_beam(wavelength_ang, direction, normal, fraction);
  const std::size_t n = first.size();
  const auto host_misfit = xfelflow::host_view<double*>(misfit.data(), n);
  const auto host_gradient = xfelflow::host_view<double* [n_basis]>(gradient.data(), n);
  const auto host_curvature = xfelflow::host_view<double* [n_basis][n_basis]>(curvature.data(), n);
  const auto device_misfit = where_kernels_run(host_misfit);
  const auto device_gradient = where_kernels_run(host_gradient);
  const auto device_curvature = where_kernels_run(host_curvature);
  run("shoebox likelihood", n,
      Likelihood{{boxes, beam, oversample}, xfelflow::on_device<const float*>(observed.data(), observed.shape(0)),
                 xfelflow::on_device<const float*>(noise.data(), noise.shape(0)), device_misfit, device_gradient, device_curvature});
  Kokkos::deep_copy(host_misfit, device_misfit);
  Kokkos::deep_copy(host_gradient, device_gradient);
  Kokkos::deep_copy(host_curvature, device_curvature);
}

}  // namespace

void register_shoebox(nb::module_& m) {
  m.def("shoebox_photons", &photons, "origins_mm"_a, "axes_mm"_a, "sizes"_a, "spots"_a, "wavelength_ang"_a,
        "direction"_a, "polarization_normal"_a, "polarization_fraction"_a, "oversample"_a, "photons"_a,
        nb::call_guard<nb::gil_scoped_release>(),
        "Fill photons (n_pixels,) with what xfel_apps.compute.shoebox defines.");
  m.def("shoebox_derivatives", &derivatives, "origins_mm"_a, "axes_mm"_a, "sizes"_a, "spots"_a, "wavelength_ang"_a,
        "direction"_a, "polarization_normal"_a, "polarization_fraction"_a, "oversample"_a, "photons"_a, "columns"_a,
        nb::call_guard<nb::gil_scoped_release>(),
        "Fill photons (n_pixels,) and columns (17, n_pixels) with what xfel_apps.compute.shoebox defines.");
  m.def("shoebox_likelihood", &likelihood, "origins_mm"_a, "axes_mm"_a, "sizes"_a, "spots"_a, "wavelength_ang"_a,
        "direction"_a, "polarization_normal"_a, "polarization_fraction"_a, "oversample"_a, "observed"_a,
        "noise"_a, "misfit"_a, "gradient"_a, "curvature"_a, nb::call_guard<nb::gil_scoped_release>(),
        "Fill misfit (n,), gradient (n, 17) and curvature (n, 17, 17) with what xfel_apps.compute.shoebox defines.");
}
