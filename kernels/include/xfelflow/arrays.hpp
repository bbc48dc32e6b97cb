// Arrays where the kernels run, and the caller's arrays they are made from.
#pragma once

#include <Kokkos_Core.hpp>

namespace xfelflow {

using Space = Kokkos::DefaultExecutionSpace;
template <class Data>
using Array = Kokkos::View<Data, Kokkos::LayoutRight, Space::memory_space>;

/// The caller's memory as a view.
template <class Data, class T, class... Extents>
auto host_view(T* data, Extents... extents) {
  return Kokkos::View<Data, Kokkos::LayoutRight, Kokkos::HostSpace, Kokkos::MemoryUnmanaged>(data, extents...);
}

/// Copy to where the kernels run; on a processor, look at the same memory.
template <class Data, class T, class... Extents>
Array<Data> on_device(T* data, Extents... extents) {
  return Kokkos::create_mirror_view_and_copy(Space::memory_space(), host_view<Data>(data, extents...));
}

}  // namespace xfelflow
