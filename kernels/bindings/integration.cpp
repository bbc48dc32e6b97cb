#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <xfelflow/integration.hpp>
#include <xfelflow/runtime.hpp>

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::integration;

namespace {

template <class T, std::size_t N>
using Input = nb::ndarray<const T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;
using Output = nb::ndarray<double, nb::shape<-1, n_sums>, nb::c_contig, nb::device::cpu>;

/// Copy to where the kernels run; on a processor, look at the same memory.
template <class Data, class T, class... Extents>
Array<Data> on_device(const T* data, Extents... extents) {
  Kokkos::View<Data, Kokkos::LayoutRight, Kokkos::HostSpace, Kokkos::MemoryUnmanaged> host(data, extents...);
  return Kokkos::create_mirror_view_and_copy(Space::memory_space(), host);
}

template <class Pixel>
void integrate(Input<Pixel, 2> frame, Input<unsigned char, 2> good, Input<long, 1> panel, Input<double, 2> centre,
               Input<double, 3> to_profile, Input<long, 1> half, Input<long, 1> starts, Input<long, 1> neighbours,
               Input<long, 2> panels, Input<double, 1> photons_per_adu, Input<double, 1> bottom_adu, Input<double, 1> top_adu,
               double variance, Input<double, 2> profile, double guard, double outlier_sigmas, Output sums) {
  xfelflow::Runtime::ensure_started();
  const std::size_t n = panel.shape(0), n_panels = panels.shape(0);
  const Windows windows{on_device<const long*>(panel.data(), n),
                        on_device<const double* [2]>(centre.data(), n),
                        on_device<const double* [2][2]>(to_profile.data(), n),
                        on_device<const long*>(half.data(), n),
                        on_device<const long*>(starts.data(), starts.shape(0)),
                        on_device<const long*>(neighbours.data(), neighbours.shape(0))};
  const Readout readout{on_device<const long* [4]>(panels.data(), n_panels),
                        on_device<const double*>(photons_per_adu.data(), n_panels),
                        on_device<const double*>(bottom_adu.data(), n_panels),
                        on_device<const double*>(top_adu.data(), n_panels), variance};
  const Recipe recipe{on_device<const double**>(profile.data(), profile.shape(0), profile.shape(1)), guard * guard,
                      outlier_sigmas};
  Kokkos::View<double* [n_sums], Kokkos::LayoutRight, Kokkos::HostSpace, Kokkos::MemoryUnmanaged> host(sums.data(), n);
  auto table = Kokkos::create_mirror_view(Space::memory_space(), host);
  Kokkos::parallel_for(
      "integrate", Kokkos::RangePolicy<Space, Kokkos::Schedule<Kokkos::Dynamic>>(0, n),
      Integrate<Pixel>{on_device<const Pixel**>(frame.data(), frame.shape(0), frame.shape(1)),
                       on_device<const unsigned char**>(good.data(), good.shape(0), good.shape(1)), windows, readout,
                       recipe, table});
  Kokkos::deep_copy(host, table);
}

template <class Pixel>
void define(nb::module_& m) {
  m.def("integrate", &integrate<Pixel>, "frame"_a.noconvert(), "good"_a, "panel"_a, "centre"_a, "to_profile"_a,
        "half_px"_a, "starts"_a, "neighbours"_a, "panels"_a, "photons_per_adu"_a, "bottom_adu"_a,
        "top_adu"_a, "variance"_a, "profile"_a, "guard"_a, "outlier_sigmas"_a, "sums"_a, nb::call_guard<nb::gil_scoped_release>(),
        "Fill sums (n, 20) with what xfel_apps.compute.integration defines.");
}

}  // namespace

void register_integration(nb::module_& m) {
  define<std::int16_t>(m);
  define<std::uint16_t>(m);
  define<std::int32_t>(m);
  define<std::uint32_t>(m);
  define<float>(m);
  define<double>(m);
}
