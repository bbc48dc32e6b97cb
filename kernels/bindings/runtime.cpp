#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <xfelflow/runtime.hpp>

namespace nb = nanobind;
using namespace nb::literals;
using xfelflow::Runtime;

namespace {

nb::dict runtime_info() {
  nb::dict info;
  info["started"] = Runtime::started();
  info["threads"] = Runtime::concurrency();
  info["execution_space"] = std::string(Kokkos::DefaultExecutionSpace::name());
  info["kokkos_version"] = std::to_string(KOKKOS_VERSION / 10000) + "." +
                           std::to_string(KOKKOS_VERSION / 100 % 100) + "." +
                           std::to_string(KOKKOS_VERSION % 100);
  return info;
}

}  // namespace

void register_runtime(nb::module_& m) {
  m.def("start", &Runtime::ensure_started, "Start Kokkos now; the first kernel does so by itself.");
  m.def("runtime_info", &runtime_info, "Return whether Kokkos runs, where, and on how many threads.");
}
