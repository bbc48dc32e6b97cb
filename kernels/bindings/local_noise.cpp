#include <xfelflow/local_noise.hpp>

#include "arguments.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::bindings;
using namespace xfelflow::local_noise;

namespace {

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
void local_noise(Input<Raw, 2> raw, Input<Byte, 2> mask, Input<std::int32_t, 2> place, Input<float, 2> meaning,
                 float quantile, float typical, Output<float, 2> map) {
  xfelflow::Runtime::ensure_started();
  using Range = Kokkos::RangePolicy<Space>;
  const auto panels = make_panels(place, meaning);
  const auto tiles = make_tiles(panels);
  const auto grids = make_grids(panels);
  const auto windows = make_windows(grids);
  const std::size_t n = windows.size();
  const auto frame = make_frame(raw, mask, panels);
  const auto places = on_device(windows);
  const auto of_panels = on_device(grids);
  const Array<float*> index("index", n), excess("excess", n);
  Kokkos::parallel_for("dispersion of windows", Range(0, n), Measure<Raw>{frame, places, index});
  Kokkos::parallel_for("local noise", Range(0, n), Smooth{of_panels, places, index, quantile, typical, excess});
  const auto result = on_device(map);
  const auto table = on_device(tiles);
  Kokkos::parallel_for("local noise map", Range(0, tiles.size()),
                       Spread{frame.panels, of_panels, table, excess, result});
  Kokkos::deep_copy(host_view(map), result);
}

template <class Raw>
void define(nb::module_& m) {
  m.def("local_noise", &local_noise<Raw>, "frame"_a.noconvert(), "mask"_a, "place"_a, "meaning"_a, "quantile"_a,
        "typical"_a, "map"_a, nb::call_guard<nb::gil_scoped_release>(),
        "Fill map (slow, fast) with what xfel_apps.compute.local_noise defines.");
}

}  // namespace

void register_local_noise(nb::module_& m) {
  for_pixel_types([&m](auto pixel) { define<decltype(pixel)>(m); });
}
