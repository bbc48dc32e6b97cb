#include <xfelflow/radial.hpp>

#include "arguments.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::bindings;
using namespace xfelflow::radial;

namespace {

using Range = Kokkos::RangePolicy<Space>;
using Bins = Kokkos::RangePolicy<Space, Kokkos::Schedule<Kokkos::Dynamic>>;

template <class T>
auto flat(const Output<T, 2>& matrix) {
  return xfelflow::on_device<T*>(matrix.data(), matrix.size());
}

template <class Raw>
void radial_strong_pixels(Input<Raw, 2> raw, Input<Byte, 2> mask, Input<std::int32_t, 2> place,
                          Input<float, 2> meaning, Input<Place, 1> order, Input<Place, 1> ends, double sigmas,
                          int min_count, int iterations, Output<double, 1> mean, Output<double, 1> deviation,
                          Output<Byte, 2> strong) {
  xfelflow::Runtime::ensure_started();
  const auto panels = make_panels(place, meaning);
  const auto tiles = make_tiles(panels);
  const Array<float**> photons(Kokkos::view_alloc("photons", Kokkos::WithoutInitializing), raw.shape(0), raw.shape(1));
  Kokkos::deep_copy(photons, no_number);
  Kokkos::parallel_for("photons", Range(0, tiles.size()),
                       Convert<Raw>{make_frame(raw, mask, panels), on_device(tiles), photons});
  const Array<float*> sorted(Kokkos::view_alloc("sorted", Kokkos::WithoutInitializing), order.shape(0));
  const auto means = on_device(mean), deviations = on_device(deviation);
  const auto marks = flat(strong);
  Kokkos::deep_copy(marks, Byte{0});
  Kokkos::parallel_for("radial bins", Bins(0, ends.shape(0)),
                       Clip{Array<const float*>(photons.data(), photons.size()), on_device(order), on_device(ends),
                            sigmas, min_count, iterations, sorted, means, deviations, marks});
  Kokkos::deep_copy(host_view(mean), means);
  Kokkos::deep_copy(host_view(deviation), deviations);
  Kokkos::deep_copy(xfelflow::host_view<Byte*>(strong.data(), strong.size()), marks);
}

template <class Raw>
void define(nb::module_& m) {
  m.def("radial_strong_pixels", &radial_strong_pixels<Raw>, "frame"_a.noconvert(), "mask"_a, "place"_a, "meaning"_a,
        "order"_a, "ends"_a, "sigmas"_a, "min_count"_a, "iterations"_a, "mean"_a, "deviation"_a, "strong"_a,
        nb::call_guard<nb::gil_scoped_release>(),
        "Fill mean, deviation (n_bins,) and strong (slow, fast) with what xfel_apps.compute.radial defines.");
}

}  // namespace

void register_radial(nb::module_& m) {
  for_pixel_types([&m](auto pixel) { define<decltype(pixel)>(m); });
}
