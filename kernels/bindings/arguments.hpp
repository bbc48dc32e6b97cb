// What the bindings take from Python: arrays, frames and the panels in them.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <vector>
#include <xfelflow/arrays.hpp>
#include <xfelflow/frames.hpp>
#include <xfelflow/runtime.hpp>

namespace xfelflow::bindings {

using xfelflow::Array;
using xfelflow::host_view;
using xfelflow::on_device;
using xfelflow::Space;

template <class T, std::size_t N>
using Argument = nanobind::ndarray<T, nanobind::ndim<N>, nanobind::c_contig, nanobind::device::cpu>;
template <class T, std::size_t N>
using Input = Argument<const T, N>;
template <class T, std::size_t N>
using Output = Argument<T, N>;

/// The caller's matrix as a view, to copy results to.
template <class T>
auto host_view(const Argument<T, 2>& matrix) {
  return xfelflow::host_view<T**>(matrix.data(), matrix.shape(0), matrix.shape(1));
}

/// The caller's vector as a view, to copy results to.
template <class T>
auto host_view(const Argument<T, 1>& vector) {
  return xfelflow::host_view<T*>(vector.data(), vector.shape(0));
}

template <class T>
auto on_device(const Argument<T, 1>& vector) {
  return xfelflow::on_device<T*>(vector.data(), vector.shape(0));
}

template <class T>
auto on_device(const Argument<T, 2>& matrix) {
  return xfelflow::on_device<T**>(matrix.data(), matrix.shape(0), matrix.shape(1));
}

template <class T>
auto on_device(const std::vector<T>& items) {
  return xfelflow::on_device<const T*>(items.data(), items.size());
}

/// The two tables are those of xfel_apps.compute.panels.Panels.arrays.
inline std::vector<frames::Panel> make_panels(const Input<std::int32_t, 2>& place, const Input<float, 2>& meaning) {
  return frames::make_panels(place.data(), meaning.data(), place.shape(0));
}

template <class Raw>
frames::Frame<Raw> make_frame(const Input<Raw, 2>& raw, const Input<frames::Byte, 2>& mask,
                              const std::vector<frames::Panel>& panels) {
  return {on_device(raw), on_device(mask), on_device(panels)};
}

/// Call define with a number of each type that the pixels of a frame may have.
template <class Define>
void for_pixel_types(Define define) {
  define(std::uint8_t{});
  define(std::int16_t{});
  define(std::uint16_t{});
  define(std::int32_t{});
  define(std::uint32_t{});
  define(float{});
  define(double{});
}

}  // namespace xfelflow::bindings
