// Which pixels of a box a spot reaches.
#pragma once

#include <xfelflow/shoebox.hpp>

namespace xfelflow::shoebox {

/// A pixel where a spot has fewer photons than this is the background's alone.
constexpr double fewest_photons = 1e-8;

/// How the exponent (q - q0) P (q - q0) / 2 of a spot runs over its box, to second order about one point.
struct Section {
  double fast, slow;     ///< where it is least [pixel]
  double least;          ///< its value there
  double span_f, span_s;  ///< half widths along fast and slow of where it is at most 1/2 more
  double photons;        ///< of a pixel there, were the exponent 0

  /// The section of a box's spot about a place of the box.
  KOKKOS_INLINE_FUNCTION Section(const Boxes& boxes, const Beam& beam, int box, double at_fast, double at_slow) {
    double x[3], length2 = 0.0;
    for (int i = 0; i < 3; ++i) {
      x[i] = boxes.origin_mm(box, i) + at_fast * boxes.axis_mm(box, i, 0) + at_slow * boxes.axis_mm(box, i, 1);
      length2 += x[i] * x[i];
    }
    const double inverse = 1.0 / sqrt(length2);
    double along[2] = {0.0, 0.0}, size[2] = {0.0, 0.0};
    for (int side = 0; side < 2; ++side)
      for (int i = 0; i < 3; ++i) {
        along[side] += x[i] * inverse * boxes.axis_mm(box, i, side);
        size[side] += boxes.axis_mm(box, i, side) * boxes.axis_mm(box, i, side);
      }
    double d[3], move[2][3];
    for (int i = 0; i < 3; ++i) {
      d[i] = (x[i] * inverse - beam.direction[i]) / beam.wavelength_ang - boxes.spot(box, i);
      for (int side = 0; side < 2; ++side)
        move[side][i] = (boxes.axis_mm(box, i, side) - x[i] * inverse * along[side]) * inverse / beam.wavelength_ang;
    }
    const double ff = product(boxes, box, move[0], move[0]), fs = product(boxes, box, move[0], move[1]),
                 ss = product(boxes, box, move[1], move[1]), f = product(boxes, box, move[0], d),
                 s = product(boxes, box, move[1], d), determinant = ff * ss - fs * fs;
    const double step_f = (fs * s - ss * f) / determinant, step_s = (fs * f - ff * s) / determinant;
    fast = at_fast + step_f;
    slow = at_slow + step_s;
    least = 0.5 * (product(boxes, box, d, d) + f * step_f + s * step_s);
    span_f = sqrt(ss / determinant);
    span_s = sqrt(ff / determinant);
    photons = 2.0 * boxes.spot(box, 9) * sqrt(size[0] * size[1]) / length2;
  }

  /// a P b with the precision P of a box's spot.
  KOKKOS_INLINE_FUNCTION static double product(const Boxes& boxes, int box, const double* a, const double* b) {
    return boxes.spot(box, 3) * a[0] * b[0] + boxes.spot(box, 4) * a[1] * b[1] + boxes.spot(box, 5) * a[2] * b[2] +
           boxes.spot(box, 6) * (a[1] * b[2] + a[2] * b[1]) + boxes.spot(box, 7) * (a[0] * b[2] + a[2] * b[0]) +
           boxes.spot(box, 8) * (a[0] * b[1] + a[1] * b[0]);
  }
};

KOKKOS_INLINE_FUNCTION double clamped(double value, double low, double high) {
  return value < low ? low : value > high ? high : value;
}

/// The pixels of a box where its spot has `fewest_photons`, and some beside: all of them if that cannot be told.
KOKKOS_INLINE_FUNCTION Window near_spot(const Boxes& boxes, const Beam& beam, int box) {
  constexpr double beside = 0.75;  // pixels: what the second order leaves out
  const double width = static_cast<double>(boxes.size(box, 0)), height = static_cast<double>(boxes.size(box, 1));
  const Section first(boxes, beam, box, 0.5 * width, 0.5 * height);
  const Section at(boxes, beam, box, clamped(first.fast, 0.0, width), clamped(first.slow, 0.0, height));
  const double room = math::log(at.photons / fewest_photons) - at.least;
  if (room <= 0.0) return {0, 0, 0, 0};
  const double half_f = at.span_f * sqrt(2.0 * room) + beside, half_s = at.span_s * sqrt(2.0 * room) + beside;
  const double sum = at.fast + at.slow + half_f + half_s;
  if (!(sum - sum == 0.0)) return {0, 0, boxes.size(box, 0), boxes.size(box, 1)};
  const long fast = static_cast<long>(clamped(at.fast - half_f, 0.0, width)),
             slow = static_cast<long>(clamped(at.slow - half_s, 0.0, height));
  const long end_f = static_cast<long>(clamped(at.fast + half_f + 1.0, 0.0, width)),
             end_s = static_cast<long>(clamped(at.slow + half_s + 1.0, 0.0, height));
  return {fast, slow, end_f > fast ? end_f - fast : 0, end_s > slow ? end_s - slow : 0};
}

}  // namespace xfelflow::shoebox
