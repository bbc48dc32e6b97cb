#include <memory>
#include <xfelflow/components.hpp>

#include "arguments.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::bindings;
using namespace xfelflow::components;

namespace {

using Table = nb::ndarray<nb::numpy, double, nb::ndim<2>>;

template <class Raw>
Table find_spots(Input<Raw, 2> raw, Input<Byte, 2> mask, Output<Byte, 2> marks, Input<std::int32_t, 2> place,
                 Input<float, 2> meaning, int min_pixels, int max_pixels, int margin, int min_background) {
  auto rows = std::make_unique<std::vector<double>>();
  {
    nb::gil_scoped_release free;
    const auto panels = make_panels(place, meaning);
    for (std::size_t i = 0; i < panels.size(); ++i)
      PanelSpots<Raw>(raw.data(), mask.data(), marks.data(), static_cast<long>(raw.shape(1)), panels[i],
                      {min_pixels, max_pixels, margin, min_background})
          .find(static_cast<int>(i), *rows);
  }
  double* data = rows->data();
  const std::size_t n = rows->size() / n_columns;
  nb::capsule owner(rows.release(), [](void* p) noexcept { delete static_cast<std::vector<double>*>(p); });
  return Table(data, {n, static_cast<std::size_t>(n_columns)}, owner);
}

template <class Raw>
void define(nb::module_& m) {
  m.def("find_spots", &find_spots<Raw>, "frame"_a.noconvert(), "mask"_a, "marks"_a, "place"_a, "meaning"_a,
        "min_pixels"_a, "max_pixels"_a, "margin"_a, "min_background"_a,
        "Return the table that xfel_apps.compute.components defines.");
}

}  // namespace

void register_components(nb::module_& m) {
  for_pixel_types([&m](auto pixel) { define<decltype(pixel)>(m); });
}
