// xfel_apps._kernels: one register_<idea> a binding file.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

void register_components(nb::module_& m);
void register_forward(nb::module_& m);
void register_integration(nb::module_& m);
void register_lattice_search(nb::module_& m);
void register_local_noise(nb::module_& m);
void register_powder(nb::module_& m);
void register_radial(nb::module_& m);
void register_runtime(nb::module_& m);
void register_shoebox(nb::module_& m);
void register_threshold(nb::module_& m);
void register_window_moments(nb::module_& m);

NB_MODULE(_kernels, m) {
  m.doc() = "Compiled kernels. Call them through xfel_apps.compute, which holds their NumPy twins.";
  register_components(m);
  register_forward(m);
  register_integration(m);
  register_lattice_search(m);
  register_local_noise(m);
  register_powder(m);
  register_radial(m);
  register_runtime(m);
  register_shoebox(m);
  register_threshold(m);
  register_window_moments(m);
}
