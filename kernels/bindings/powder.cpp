#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <xfelflow/powder.hpp>

#include "arguments.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::bindings;
using namespace xfelflow::powder;

namespace {

template <class Raw>
void powder_add(std::vector<Input<Raw, 2>> frames, Input<Byte, 2> mask, Input<std::int32_t, 2> place,
                Input<float, 2> meaning, float parts, Output<std::int64_t, 2> total, Output<std::int32_t, 2> highest) {
  if (frames.size() > most_frames) throw std::invalid_argument("at most 4 frames are added at once");
  xfelflow::Runtime::ensure_started();
  const auto panels = make_panels(place, meaning);
  const auto tiles = make_tiles(panels);
  Add<Raw> add;
  add.n_frames = static_cast<int>(frames.size());
  for (int i = 0; i < add.n_frames; ++i) add.frames[i] = on_device(frames[i]);
  add.mask = on_device(mask);
  add.panels = on_device(panels);
  add.tiles = on_device(tiles);
  add.parts = parts;
  add.total = on_device(total);
  add.highest = on_device(highest);
  Kokkos::parallel_for("powder", Kokkos::RangePolicy<Space>(0, tiles.size()), add);
  Kokkos::deep_copy(host_view(total), add.total);
  Kokkos::deep_copy(host_view(highest), add.highest);
}

template <class Raw>
void define(nb::module_& m) {
  m.def("powder_add", &powder_add<Raw>, "frames"_a.noconvert(), "mask"_a, "place"_a, "meaning"_a, "parts"_a,
        "total"_a, "highest"_a, nb::call_guard<nb::gil_scoped_release>(),
        "Add frames to total and highest as xfel_apps.compute.powder defines.");
}

}  // namespace

void register_powder(nb::module_& m) {
  for_pixel_types([&m](auto pixel) { define<decltype(pixel)>(m); });
}
