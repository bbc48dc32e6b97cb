#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <xfelflow/local_noise.hpp>
#include <xfelflow/runtime.hpp>

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::local_noise;

namespace {

template <class T>
using Matrix = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

std::vector<Grid> make_grids(const std::vector<Panel>& panels) {
  std::vector<Grid> grids;
  int first = 0;
  for (const Panel& panel : panels) {
    grids.push_back({panel.height / window, panel.width / window, first});
    first += grids.back().rows * grids.back().columns;
  }
  return grids;
}

std::vector<Window> make_windows(const std::vector<Grid>& grids) {
  std::vector<Window> windows;
  for (std::size_t i = 0; i < grids.size(); ++i)
    for (int row = 0; row < grids[i].rows; ++row)
      for (int column = 0; column < grids[i].columns; ++column) windows.push_back({static_cast<int>(i), row, column});
  return windows;
}

template <class Raw>
void local_noise(Matrix<const Raw> raw, Matrix<const Byte> mask, Matrix<const std::int32_t> place,
                 Matrix<const float> meaning, float quantile, float typical, Matrix<float> map) {
  xfelflow::Runtime::ensure_started();
  using Range = Kokkos::RangePolicy<Space>;
  const auto panels = make_panels(place.data(), meaning.data(), place.shape(0));
  const auto tiles = make_tiles(panels);
  const auto grids = make_grids(panels);
  const auto windows = make_windows(grids);
  const std::size_t n_slow = raw.shape(0), n_fast = raw.shape(1), n = windows.size();
  const Frame<Raw> frame{on_device<const Raw**>(raw.data(), n_slow, n_fast),
                         on_device<const Byte**>(mask.data(), n_slow, n_fast),
                         on_device<const Panel*>(panels.data(), panels.size())};
  const auto places = on_device<const Window*>(windows.data(), n);
  const auto of_panels = on_device<const Grid*>(grids.data(), grids.size());
  const Array<float*> index("index", n), excess("excess", n);
  Kokkos::parallel_for("dispersion of windows", Range(0, n), Measure<Raw>{frame, places, index});
  Kokkos::parallel_for("local noise", Range(0, n), Smooth{of_panels, places, index, quantile, typical, excess});
  Kokkos::View<float**, Kokkos::LayoutRight, Kokkos::HostSpace, Kokkos::MemoryUnmanaged> host(map.data(), n_slow,
                                                                                               n_fast);
  const auto result = Kokkos::create_mirror_view_and_copy(Space::memory_space(), host);
  const auto table = on_device<const Tile*>(tiles.data(), tiles.size());
  Kokkos::parallel_for("local noise map", Range(0, tiles.size()),
                       Spread{frame.panels, of_panels, table, excess, result});
  Kokkos::deep_copy(host, result);
}

template <class Raw>
void define(nb::module_& m) {
  m.def("local_noise", &local_noise<Raw>, "frame"_a.noconvert(), "mask"_a, "place"_a, "meaning"_a, "quantile"_a,
        "typical"_a, "map"_a, nb::call_guard<nb::gil_scoped_release>(),
        "Fill map (slow, fast) with what xfel_apps.compute.local_noise defines.");
}

}  // namespace

void register_local_noise(nb::module_& m) {
  define<std::uint8_t>(m);
  define<std::int16_t>(m);
  define<std::uint16_t>(m);
  define<std::int32_t>(m);
  define<std::uint32_t>(m);
  define<float>(m);
  define<double>(m);
}
