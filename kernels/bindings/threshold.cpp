#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>
#include <xfelflow/runtime.hpp>
#include <xfelflow/threshold.hpp>

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::threshold;

namespace {

template <class T>
using Matrix = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class T>
auto host_view(const Matrix<T>& array) {
  return Kokkos::View<T**, Kokkos::LayoutRight, Kokkos::HostSpace, Kokkos::MemoryUnmanaged>(
      array.data(), array.shape(0), array.shape(1));
}

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
void strong_pixels(Matrix<const Raw> raw, Matrix<const Byte> mask, Matrix<const std::int32_t> place,
                   Matrix<const float> meaning, int half, int half_wide, float sigma_background, float sigma_strong,
                   int min_count, bool extended, Matrix<const float> excess, Matrix<Byte> work, Matrix<Byte> strong) {
  xfelflow::Runtime::ensure_started();
  const auto panels = make_panels(place.data(), meaning.data(), place.shape(0));
  const auto tiles = make_tiles(panels);
  const std::size_t n_slow = raw.shape(0), n_fast = raw.shape(1);
  const Job<Raw> job{{on_device<const Raw**>(raw.data(), n_slow, n_fast),
                      on_device<const Byte**>(mask.data(), n_slow, n_fast),
                      on_device<const Panel*>(panels.data(), panels.size())},
                     {half_wide, sigma_background, sigma_strong, static_cast<float>(min_count), extended, excess.size() > 0},
                     on_device<const Tile*>(tiles.data(), tiles.size()),
                     tiles.size(),
                     on_device<const float**>(excess.data(), excess.shape(0), excess.shape(1)),
                     Kokkos::create_mirror_view(Space::memory_space(), host_view(work)),
                     Kokkos::create_mirror_view_and_copy(Space::memory_space(), host_view(strong))};
  job.find(half);
  Kokkos::deep_copy(host_view(strong), job.strong);
}

template <class Raw>
void define(nb::module_& m) {
  m.def("strong_pixels", &strong_pixels<Raw>, "frame"_a.noconvert(), "mask"_a, "place"_a, "meaning"_a, "half"_a,
        "half_wide"_a, "sigma_background"_a, "sigma_strong"_a, "min_count"_a, "extended"_a, "excess"_a,
        "work"_a, "strong"_a,
        nb::call_guard<nb::gil_scoped_release>(),
        "Fill strong (slow, fast) with what xfel_apps.compute.threshold defines.");
}

}  // namespace

void register_threshold(nb::module_& m) {
  define<std::uint8_t>(m);
  define<std::int16_t>(m);
  define<std::uint16_t>(m);
  define<std::int32_t>(m);
  define<std::uint32_t>(m);
  define<float>(m);
  define<double>(m);
}
