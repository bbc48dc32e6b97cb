#include <xfelflow/powder.hpp>

#include "arguments.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::bindings;
using namespace xfelflow::powder;

namespace {

template <class Raw>
void powder_add(Input<Raw, 2> raw, Input<Byte, 2> mask, Input<std::int32_t, 2> place, Input<float, 2> meaning,
                float parts, std::int32_t limit, Output<std::int32_t, 2> recent, Output<std::int64_t, 2> total,
                Output<std::int32_t, 2> highest) {
  xfelflow::Runtime::ensure_started();
  const auto panels = make_panels(place, meaning);
  const auto tiles = make_tiles(panels);
  const auto frame = make_frame(raw, mask, panels);
  const auto latest = on_device(recent);
  const auto sums = on_device(total);
  const auto tops = on_device(highest);
  Kokkos::parallel_for("powder", Kokkos::RangePolicy<Space>(0, tiles.size()),
                       Add<Raw>{frame, on_device(tiles), parts, limit, latest, sums, tops});
  Kokkos::deep_copy(host_view(recent), latest);
  Kokkos::deep_copy(host_view(total), sums);
  Kokkos::deep_copy(host_view(highest), tops);
}

template <class Raw>
void define(nb::module_& m) {
  m.def("powder_add", &powder_add<Raw>, "frame"_a.noconvert(), "mask"_a, "place"_a, "meaning"_a, "parts"_a, "limit"_a,
        "recent"_a, "total"_a, "highest"_a, nb::call_guard<nb::gil_scoped_release>(),
        "Add a frame to recent or total, and to highest, as xfel_apps.compute.powder defines.");
}

}  // namespace

void register_powder(nb::module_& m) {
  for_pixel_types([&m](auto pixel) { define<decltype(pixel)>(m); });
}
