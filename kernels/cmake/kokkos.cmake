# The user's own Kokkos (Kokkos_ROOT, 3.4 to 4.x), else the source that PyPI carries inside pykokkos-base.
find_package(Kokkos QUIET CONFIG)
if(Kokkos_FOUND)
  message(STATUS "Kokkos ${Kokkos_VERSION} from ${Kokkos_DIR}")
  return()
endif()

set(carrier pykokkos-base)
set(carrier_version 0.0.7)
set(download "${CMAKE_BINARY_DIR}/kokkos-download")
set(kokkos_source "${download}/${carrier}-${carrier_version}/external/kokkos")
if(NOT EXISTS "${kokkos_source}/CMakeLists.txt")
  message(STATUS "No Kokkos found (set Kokkos_ROOT to use yours): fetching 3.4.01 from PyPI")
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -m pip download --quiet --disable-pip-version-check --no-deps
            --no-build-isolation --no-binary :all: --dest "${download}"
            "${carrier}==${carrier_version}"
    RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "pip could not download ${carrier} ${carrier_version}, which carries the Kokkos "
                        "source. Without a network, install Kokkos and set Kokkos_ROOT to its prefix.")
  endif()
  file(GLOB archive "${download}/pykokkos*.tar.gz")
  file(ARCHIVE_EXTRACT INPUT "${archive}" DESTINATION "${download}")
endif()

set(Kokkos_ENABLE_SERIAL ON CACHE BOOL "")
set(Kokkos_ENABLE_OPENMP ON CACHE BOOL "")
set(Kokkos_CXX_STANDARD 17 CACHE STRING "")
set(BUILD_SHARED_LIBS OFF)
add_subdirectory("${kokkos_source}" "${CMAKE_BINARY_DIR}/kokkos" EXCLUDE_FROM_ALL)
