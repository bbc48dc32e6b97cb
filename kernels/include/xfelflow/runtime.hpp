// The life of Kokkos in a Python process: started by the first kernel, ended at exit.
#pragma once

#include <unistd.h>

#include <Kokkos_Core.hpp>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

namespace xfelflow {

/// True where a launcher (mpiexec of MPICH or Open MPI, srun) started this process as one of several.
inline bool under_mpi() {
  for (const char* name : {"PMI_SIZE", "MPI_LOCALNRANKS", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"}) {
    const char* size = std::getenv(name);
    if (size != nullptr && std::atoi(size) > 1) return true;
  }
  return false;
}

/// OMP_NUM_THREADS where it is set, else one under MPI (the ranks share the node), else every core.
inline int wanted_threads() {
  if (const char* text = std::getenv("OMP_NUM_THREADS")) {
    const int n = std::atoi(text);
    if (n > 0) return n;
  }
  if (under_mpi()) return 1;
  const unsigned n = std::thread::hardware_concurrency();
  return n > 0 ? static_cast<int>(n) : 1;
}

class Runtime {
 public:
  /// Start Kokkos if nothing has. Every binding calls this before its first view.
  static void ensure_started() {
    std::call_once(once(), start);
    if (owner() != getpid() && concurrency() > 1)
      throw std::runtime_error(
          "the kernels' threads do not survive a fork: start the child with the 'spawn' method, or set "
          "OMP_NUM_THREADS=1 before the first kernel runs");
  }

  static bool started() { return Kokkos::is_initialized(); }

  /// Number of threads the kernels use; 0 before the first one ran.
  static int concurrency() {
    return started() ? static_cast<int>(Kokkos::DefaultExecutionSpace().concurrency()) : 0;
  }

 private:
  static std::once_flag& once() {
    static std::once_flag flag;
    return flag;
  }

  static pid_t& owner() {
    static pid_t pid = 0;
    return pid;
  }

  static void start() {
    if (Kokkos::is_initialized()) return;  // the host program started it, and will end it
#if KOKKOS_VERSION >= 30700
    Kokkos::InitializationSettings settings;
    settings.set_num_threads(wanted_threads());
    settings.set_disable_warnings(true);
#else
    Kokkos::InitArguments settings;
    settings.num_threads = wanted_threads();
    settings.disable_warnings = true;
#endif
    Kokkos::initialize(settings);
    owner() = getpid();
    // Handlers run in the reverse order of registration: every static view made after this line is gone
    // when the handler runs, and Kokkos's own statics, made before it, still live.
    std::atexit(stop);
  }

  static void stop() {
    if (owner() == getpid() && Kokkos::is_initialized()) Kokkos::finalize();
  }
};

}  // namespace xfelflow
