#include <xfelflow/window_moments.hpp>

#include "arguments.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::bindings;
using namespace xfelflow::window_moments;

namespace {

template <class Raw>
void window_moments(Input<Raw, 2> raw, Input<std::int32_t, 2> corners, float lowest, float highest,
                    Output<double, 2> table) {
  xfelflow::Runtime::ensure_started();
  const auto result = on_device(table);
  Kokkos::parallel_for("window moments", Kokkos::RangePolicy<Space>(0, corners.shape(0)),
                       Measure<Raw>{on_device(raw), on_device(corners), lowest, highest, result});
  Kokkos::deep_copy(host_view(table), result);
}

template <class Raw>
void define(nb::module_& m) {
  m.def("window_moments", &window_moments<Raw>, "frame"_a.noconvert(), "corners"_a, "lowest"_a, "highest"_a,
        "table"_a, nb::call_guard<nb::gil_scoped_release>(),
        "Fill table (n, 4) with what xfel_apps.compute.window_moments defines.");
}

}  // namespace

void register_window_moments(nb::module_& m) {
  for_pixel_types([&m](auto pixel) { define<decltype(pixel)>(m); });
}
