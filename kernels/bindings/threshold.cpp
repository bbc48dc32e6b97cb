#include <stdexcept>
#include <xfelflow/threshold.hpp>

#include "arguments.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::bindings;
using namespace xfelflow::threshold;

namespace {

using Tiles = Kokkos::RangePolicy<Space, Kokkos::Schedule<Kokkos::Dynamic>>;

/// One frame and what the method keeps of it.
template <class Raw>
struct Job {
  Frame<Raw> frame;
  Method method;
  Array<const Tile*> tiles;
  std::size_t n_tiles;
  Array<const float**> excess;
  Array<Byte**> core, strong;

  template <int half>
  void find() const {
    const Array<Byte*> any("any", n_tiles);
    const Tiles all(0, n_tiles);
    Kokkos::parallel_for("dispersion", all, FindSignal<Raw, half>{frame, method, tiles, excess, strong, any});
    if (!method.extended) return;
    Kokkos::parallel_for("erosion", all, Erode<half>{frame.panels, tiles, strong, any, core});
    Kokkos::parallel_for("rise", all, Rise<Raw>{frame, method, tiles, excess, core, any, strong});
  }

  /// The window's width is known when compiling: its sums stay in registers.
  template <int half = 1>
  void find(int wanted) const {
    if (wanted == half) return find<half>();
    if constexpr (half < max_half) return find<half + 1>(wanted);
    throw std::invalid_argument("the half width of a window is 1 to 7 pixels");
  }
};

template <class Raw>
void strong_pixels(Input<Raw, 2> raw, Input<Byte, 2> mask, Input<std::int32_t, 2> place, Input<float, 2> meaning,
                   int half, int half_wide, float sigma_background, float sigma_strong, int min_count,
                   bool extended, Input<float, 2> excess, Output<Byte, 2> work, Output<Byte, 2> strong) {
  xfelflow::Runtime::ensure_started();
  const auto panels = make_panels(place, meaning);
  const auto tiles = make_tiles(panels);
  const Job<Raw> job{make_frame(raw, mask, panels),
                     {half_wide, sigma_background, sigma_strong, static_cast<float>(min_count), extended, excess.size() > 0},
                     on_device(tiles), tiles.size(), on_device(excess),
                     Kokkos::create_mirror_view(Space::memory_space(), host_view(work)),
                     on_device(strong)};
  job.find(half);
  Kokkos::deep_copy(host_view(strong), job.strong);
}

template <class Raw>
void define(nb::module_& m) {
  m.def("strong_pixels", &strong_pixels<Raw>, "frame"_a.noconvert(), "mask"_a, "place"_a, "meaning"_a, "half"_a,
        "half_wide"_a, "sigma_background"_a, "sigma_strong"_a, "min_count"_a, "extended"_a, "excess"_a,
        "work"_a, "strong"_a, nb::call_guard<nb::gil_scoped_release>(),
        "Fill strong (slow, fast) with what xfel_apps.compute.threshold defines.");
}

}  // namespace

void register_threshold(nb::module_& m) {
  for_pixel_types([&m](auto pixel) { define<decltype(pixel)>(m); });
}
