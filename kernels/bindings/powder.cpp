#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <xfelflow/powder.hpp>
#include <xfelflow/runtime.hpp>

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::powder;

namespace {

template <class T>
using Matrix = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class T>
auto host_view(const Matrix<T>& array) {
  return Kokkos::View<T**, Kokkos::LayoutRight, Kokkos::HostSpace, Kokkos::MemoryUnmanaged>(
      array.data(), array.shape(0), array.shape(1));
}

template <class Raw>
void powder_add(Matrix<const Raw> raw, Matrix<const Byte> mask, Matrix<const std::int32_t> place,
                Matrix<const float> meaning, float parts, Matrix<std::int64_t> total, Matrix<std::int32_t> highest) {
  xfelflow::Runtime::ensure_started();
  const auto panels = make_panels(place.data(), meaning.data(), place.shape(0));
  const auto tiles = make_tiles(panels);
  const std::size_t n_slow = raw.shape(0), n_fast = raw.shape(1);
  const Frame<Raw> frame{on_device<const Raw**>(raw.data(), n_slow, n_fast),
                         on_device<const Byte**>(mask.data(), n_slow, n_fast),
                         on_device<const Panel*>(panels.data(), panels.size())};
  const auto sums = Kokkos::create_mirror_view_and_copy(Space::memory_space(), host_view(total));
  const auto tops = Kokkos::create_mirror_view_and_copy(Space::memory_space(), host_view(highest));
  Kokkos::parallel_for("powder", Kokkos::RangePolicy<Space>(0, tiles.size()),
                       Add<Raw>{frame, on_device<const Tile*>(tiles.data(), tiles.size()), parts, sums, tops});
  Kokkos::deep_copy(host_view(total), sums);
  Kokkos::deep_copy(host_view(highest), tops);
}

template <class Raw>
void define(nb::module_& m) {
  m.def("powder_add", &powder_add<Raw>, "frame"_a.noconvert(), "mask"_a, "place"_a, "meaning"_a, "parts"_a, "total"_a,
        "highest"_a, nb::call_guard<nb::gil_scoped_release>(),
        "Add a frame to total and highest as xfel_apps.compute.powder defines.");
}

}  // namespace

void register_powder(nb::module_& m) {
  define<std::uint8_t>(m);
  define<std::int16_t>(m);
  define<std::uint16_t>(m);
  define<std::int32_t>(m);
  define<std::uint32_t>(m);
  define<float>(m);
  define<double>(m);
}
