#include <xfelflow/local_noise.hpp>

#include "arguments.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::bindings;
using namespace xfelflow::local_noise;

namespace {

template <class Raw>
void local_noise(Input<Raw, 2> raw, Input<Byte, 2> mask, Input<std::int32_t, 2> place, Input<float, 2> meaning,
                 float quantile, float typical, Output<float, 1> excess) {
  xfelflow::Runtime::ensure_started();
  using Range = Kokkos::RangePolicy<Space>;
  const auto panels = make_panels(place, meaning);
  const auto grids = make_grids(panels);
  const auto rows = make_rows(grids);
  const auto of_panels = on_device(grids);
  const auto places = on_device(rows);
  const auto result = on_device(excess);
  const Array<float*> index("index", excess.shape(0));
  const Range all(0, rows.size());
  Kokkos::parallel_for("dispersion of windows", all,
                       Measure<Raw>{make_frame(raw, mask, panels), of_panels, places, index});
  Kokkos::parallel_for("local noise", all, Smooth{of_panels, places, index, quantile, typical, result});
  Kokkos::deep_copy(host_view(excess), result);
}

template <class Raw>
void define(nb::module_& m) {
  m.def("local_noise", &local_noise<Raw>, "frame"_a.noconvert(), "mask"_a, "place"_a, "meaning"_a, "quantile"_a,
        "typical"_a, "excess"_a, nb::call_guard<nb::gil_scoped_release>(),
        "Fill excess (n_windows,) with what xfel_apps.compute.local_noise defines.");
}

}  // namespace

void register_local_noise(nb::module_& m) {
  for_pixel_types([&m](auto pixel) { define<decltype(pixel)>(m); });
}
