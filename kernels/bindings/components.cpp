#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>
#include <xfelflow/components.hpp>

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::components;

namespace {

template <class T>
using Matrix = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Table = nb::ndarray<nb::numpy, double, nb::ndim<2>>;

template <class Raw>
Table find_spots(Matrix<const Raw> raw, Matrix<const Byte> mask, Matrix<Byte> marks,
                 Matrix<const std::int32_t> place, Matrix<const float> meaning, int min_pixels, int max_pixels,
                 int margin, int min_background) {
  auto rows = std::make_unique<std::vector<double>>();
  {
    nb::gil_scoped_release free;
    const auto panels = make_panels(place.data(), meaning.data(), place.shape(0));
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
  define<std::uint8_t>(m);
  define<std::int16_t>(m);
  define<std::uint16_t>(m);
  define<std::int32_t>(m);
  define<std::uint32_t>(m);
  define<float>(m);
  define<double>(m);
}
