#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <xfelflow/lattice_search.hpp>
#include <xfelflow/runtime.hpp>

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::lattice_search;

namespace {

template <std::size_t N>
using Input = nb::ndarray<const float, nb::ndim<N>, nb::c_contig, nb::device::cpu>;
template <std::size_t N>
using Output = nb::ndarray<float, nb::ndim<N>, nb::c_contig, nb::device::cpu>;

/// Copy to where the kernels run; on a processor, look at the same memory.
template <class Data, class... Extents>
Array<Data> on_device(const float* data, Extents... extents) {
  Kokkos::View<Data, Kokkos::LayoutRight, Kokkos::HostSpace, Kokkos::MemoryUnmanaged> host(data, extents...);
  return Kokkos::create_mirror_view_and_copy(Space::memory_space(), host);
}

Spots make_spots(const Input<2>& q, const Input<1>& reach, const Input<1>& weight) {
  const std::size_t n = q.shape(0);
  return {on_device<const float* [3]>(q.data(), n), on_device<const float*>(reach.data(), n),
          on_device<const float*>(weight.data(), n)};
}

void score_vectors(Input<2> t, Input<2> q, Input<1> reach, Input<1> weight, Output<1> score) {
  xfelflow::Runtime::ensure_started();
  const std::size_t n = score.shape(0);
  Kokkos::View<float*, Kokkos::LayoutRight, Kokkos::HostSpace, Kokkos::MemoryUnmanaged> host(score.data(), n);
  auto out = Kokkos::create_mirror_view(Space::memory_space(), host);
  const Vectors body{on_device<const float**>(t.data(), 3, n), make_spots(q, reach, weight), out};
  Kokkos::parallel_for("score_vectors", Kokkos::RangePolicy<Space>(0, (n + lanes - 1) / lanes), body);
  Kokkos::deep_copy(host, out);
}

void score_rotations(Input<3> coefficients, Input<2> turns, Input<1> metric, Input<2> q, Input<1> reach,
                     Input<1> weight, Output<2> score) {
  xfelflow::Runtime::ensure_started();
  const std::size_t axes = score.shape(0), angles = score.shape(1);
  Kokkos::View<float**, Kokkos::LayoutRight, Kokkos::HostSpace, Kokkos::MemoryUnmanaged> host(score.data(), axes,
                                                                                              angles);
  auto out = Kokkos::create_mirror_view(Space::memory_space(), host);
  Rotations body{on_device<const float* [3][3]>(coefficients.data(), coefficients.shape(0)),
                 on_device<const float**>(turns.data(), 2, angles),
                 {},
                 make_spots(q, reach, weight),
                 out};
  std::copy_n(metric.data(), 6, body.metric);
  const std::size_t blocks = axes * ((angles + lanes - 1) / lanes);
  Kokkos::parallel_for("score_rotations", Kokkos::RangePolicy<Space>(0, blocks), body);
  Kokkos::deep_copy(host, out);
}

}  // namespace

void register_lattice_search(nb::module_& m) {
  m.def("score_vectors", &score_vectors, "t"_a, "q"_a, "reach"_a, "weight"_a, "score"_a,
        nb::call_guard<nb::gil_scoped_release>(),
        "Fill score (n,) with what xfel_apps.compute.lattice_search defines.");
  m.def("score_rotations", &score_rotations, "coefficients"_a, "turns"_a, "metric"_a, "q"_a, "reach"_a, "weight"_a,
        "score"_a, nb::call_guard<nb::gil_scoped_release>(),
        "Fill score (n_axes, n_angles) with what xfel_apps.compute.lattice_search defines.");
}
