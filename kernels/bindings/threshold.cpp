#include <stdexcept>
#include <xfelflow/threshold.hpp>

#include "arguments.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::bindings;
using namespace xfelflow::threshold;

namespace {

using Swaths = Kokkos::RangePolicy<Space, Kokkos::Schedule<Kokkos::Dynamic>>;

/// One frame and what the method keeps of it.
template <class Raw>
struct Job {
  const std::vector<Panel>& panels;
  Frame<Raw> frame;
  Method method;
  xfelflow::local_noise::Map noise;
  Array<Byte**> core, strong;

  template <int half>
  void find() const {
    const auto list = make_swaths(panels, half);
    const auto swaths = on_device(list);
    const Array<Slots***> found("found", list.size(), n_bands, most_strips(panels));
    const Array<Slots***> dense("dense", list.size(), n_bands, most_strips(panels));
    const Swaths all(0, list.size());
    const auto& out = method.extended ? core : strong;
    Kokkos::parallel_for("dispersion", all, FindSignal<Raw, half>{frame, method, noise, swaths, out, found, dense});
    if (!method.extended) return;
    Kokkos::parallel_for("rise", all, Rise<Raw, half>{frame, method, noise, swaths, found, core, strong});
    Kokkos::parallel_for("clear", all, Clear<half>{frame.panels, swaths, found, core});
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
                   int half, float sigma_background, float sigma_strong, int min_count, bool extended,
                   Input<float, 1> excess, Output<Byte, 2> work, Output<Byte, 2> strong) {
  xfelflow::Runtime::ensure_started();
  const auto panels = make_panels(place, meaning);
  const auto grids = xfelflow::local_noise::make_grids(panels);
  const Job<Raw> job{panels,
                     make_frame(raw, mask, panels),
                     {sigma_background, sigma_strong, static_cast<float>(min_count), extended},
                     {on_device(grids), on_device(excess)},
                     on_device(work),
                     on_device(strong)};
  job.find(half);
  Kokkos::deep_copy(host_view(work), job.core);
  Kokkos::deep_copy(host_view(strong), job.strong);
}

template <class Raw>
void define(nb::module_& m) {
  m.def("strong_pixels", &strong_pixels<Raw>, "frame"_a.noconvert(), "mask"_a, "place"_a, "meaning"_a, "half"_a,
        "sigma_background"_a, "sigma_strong"_a, "min_count"_a, "extended"_a, "excess"_a, "work"_a, "strong"_a,
        nb::call_guard<nb::gil_scoped_release>(),
        "Fill strong (slow, fast) with what xfel_apps.compute.threshold defines; work and strong come as zeros, and "
        "work is left so.");
}

}  // namespace

void register_threshold(nb::module_& m) {
  for_pixel_types([&m](auto pixel) { define<decltype(pixel)>(m); });
}
