// Which pixels of a box a spot reaches.
#pragma once

#include <xfelflow/shoebox.hpp>

namespace xfelflow::shoebox {

/// A pixel where a spot has fewer photons than this is the background's alone.
constexpr double fewest_photons = 1e-6;

/// How the exponent (q - q0) P (q - q0) / 2 of a spot runs over its box, to second order about one point.
struct Section {
  double fast, slow;     ///< where it is least [pixel]
  double least;          ///< its value there
  double ff, fs, ss;      ///< its second derivatives along fast and slow
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
    ff = product(boxes, box, move[0], move[0]);
    fs = product(boxes, box, move[0], move[1]);
    ss = product(boxes, box, move[1], move[1]);
    const double f = product(boxes, box, move[0], d),
                 s = product(boxes, box, move[1], d), determinant = ff * ss - fs * fs;
    const double step_f = (fs * s - ss * f) / determinant, step_s = (fs * f - ff * s) / determinant;
    fast = at_fast + step_f;
    slow = at_slow + step_s;
    least = 0.5 * (product(boxes, box, d, d) + f * step_f + s * step_s);
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

/// Which pixels of a box have `fewest_photons` of its spot, and some beside: all if that cannot be told.
///
/// The exponent's root is a norm: a pixel whose centre is farther than the spot's edge and the pixel's own
/// half diagonal together, both in that norm, has nothing of it; nor has one out of the edge's rectangle.
struct Reach {
  static constexpr double beside = 1.25;  ///< pixels, half a pixel and what the second order leaves out
  static constexpr double longer = 1.5;   ///< of the half diagonal, for the same
  Section at;
  double farthest2, half_f, half_s;
  bool is_all;

  KOKKOS_INLINE_FUNCTION Reach(const Boxes& boxes, const Beam& beam, int box) : at(about(boxes, beam, box)) {
    const double room = 2.0 * (math::log(at.photons / fewest_photons) - at.least), edge = sqrt(room > 0.0 ? room : 0.0);
    const double across = at.fs < 0.0 ? -at.fs : at.fs, determinant = at.ff * at.ss - at.fs * at.fs;
    const double farthest = edge + longer * 0.5 * sqrt(at.ff + at.ss + 2.0 * across);
    farthest2 = room > 0.0 ? farthest * farthest : -1.0;
    half_f = edge * sqrt(at.ss / determinant) + beside;
    half_s = edge * sqrt(at.ff / determinant) + beside;
    const double sum = at.fast + at.slow + half_f + half_s + farthest2;
    is_all = !(sum - sum == 0.0);
  }

  /// Whether the pixel at (fast, slow) from the first may hold some of the spot.
  KOKKOS_INLINE_FUNCTION bool holds(double fast, double slow) const {
    const double f = fast + 0.5 - at.fast, s = slow + 0.5 - at.slow;
    const bool in_rectangle = f * f <= half_f * half_f && s * s <= half_s * half_s;
    return is_all || (in_rectangle && at.ff * f * f + 2.0 * at.fs * f * s + at.ss * s * s <= farthest2);
  }

  /// The section about where the spot is brightest in its box.
  KOKKOS_INLINE_FUNCTION static Section about(const Boxes& boxes, const Beam& beam, int box) {
    const double width = static_cast<double>(boxes.size(box, 0)), height = static_cast<double>(boxes.size(box, 1));
    const Section first(boxes, beam, box, 0.5 * width, 0.5 * height);
    return Section(boxes, beam, box, clamped(first.fast, 0.0, width), clamped(first.slow, 0.0, height));
  }
};

}  // namespace xfelflow::shoebox
