#include <algorithm>
#include <xfelflow/lattice_search.hpp>

#include "arguments.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace xfelflow::bindings;
using namespace xfelflow::lattice_search;

namespace {

Spots make_spots(const Input<float, 2>& q, const Input<float, 1>& reach, const Input<float, 1>& weight) {
  const std::size_t n = q.shape(0);
  return {on_device<const float* [3]>(q.data(), n), on_device(reach), on_device(weight)};
}

void score_vectors(Input<float, 2> t, Input<float, 2> q, Input<float, 1> reach, Input<float, 1> weight,
                   Output<float, 1> score) {
  xfelflow::Runtime::ensure_started();
  const std::size_t n = score.shape(0);
  const auto host = host_view<float*>(score.data(), n);
  auto out = Kokkos::create_mirror_view(Space::memory_space(), host);
  const Vectors body{on_device(t), make_spots(q, reach, weight), out};
  Kokkos::parallel_for("score_vectors", Kokkos::RangePolicy<Space>(0, (n + lanes - 1) / lanes), body);
  Kokkos::deep_copy(host, out);
}

void score_rotations(Input<float, 3> coefficients, Input<float, 2> turns, Input<float, 1> metric, Input<float, 2> q,
                     Input<float, 1> reach, Input<float, 1> weight, Output<float, 2> score) {
  xfelflow::Runtime::ensure_started();
  const std::size_t axes = score.shape(0), angles = score.shape(1);
  const auto host = host_view(score);
  auto out = Kokkos::create_mirror_view(Space::memory_space(), host);
  Rotations body{on_device<const float* [3][3]>(coefficients.data(), coefficients.shape(0)), on_device(turns), {},
                 make_spots(q, reach, weight), out};
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
