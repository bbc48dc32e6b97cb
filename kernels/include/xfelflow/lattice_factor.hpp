// |L|^2 of a coherent block, by its shape, and weights of an interpolation between Miller indices.
#pragma once

#include <Kokkos_Core.hpp>
#include <xfelflow/vector_math.hpp>

namespace xfelflow::forward {

enum class Shape { gaussian, square, round, tophat };

constexpr double gaussian_width = 0.63;
constexpr double tophat_squared = 0.3969;
constexpr double round_peak = 0.723601254558268;

/// |N (h - h0)| beyond which the lattice intensity counts as 0: of a Gaussian, where it is below 1e-12
/// of its peak, sqrt(0.315 ln 1e12). 0: it reaches everywhere.
template <Shape shape>
KOKKOS_INLINE_FUNCTION constexpr double reach() {
  return shape == Shape::gaussian ? 2.95022 : shape == Shape::tophat ? 0.63 : 0.0;
}

/// [sin(pi N d) / sin(pi d)]^2
KOKKOS_INLINE_FUNCTION double grating(double cells, double d) {
  const double below = sin_pi_squared(d);
  const bool peak = below < 1e-20;
  return peak ? cells * cells : sin_pi_squared(cells * d) / (peak ? 1.0 : below);
}

/// 3 (sin x / x - cos x) / x^2, 1 at 0, of x^2: the transform of a ball.
KOKKOS_INLINE_FUNCTION double ball(double x2) {
  if (x2 < 1e-2) return 1.0 - x2 / 10.0 * (1.0 - x2 / 28.0 * (1.0 - x2 / 54.0 * (1.0 - x2 / 88.0)));
  const double x = sqrt(x2);
  return 3.0 * (math::sin(x) / x - math::cos(x)) / x2;
}

/// |L|^2 at an offset from the nearest Miller index.
template <Shape shape>
KOKKOS_INLINE_FUNCTION double lattice(const double (&cells)[3], double dh, double dk, double dl) {
  if constexpr (shape == Shape::square) {
    return grating(cells[0], dh) * grating(cells[1], dk) * grating(cells[2], dl);
  } else {
    const double a = cells[0] * dh, b = cells[1] * dk, c = cells[2] * dl;
    const double peak = cells[0] * cells[1] * cells[2], squares = a * a + b * b + c * c;
    if constexpr (shape == Shape::gaussian) return peak * peak * exp_negative(-2.0 / gaussian_width * squares);
    if constexpr (shape == Shape::tophat) return squares < tophat_squared ? peak * peak : 0.0;
    const double amplitude = round_peak * peak * ball(9.869604401089358 * squares);  // pi^2
    return amplitude * amplitude;
  }
}

/// Weights (4) of Lagrange's cubic through the whole numbers about x; return the first of them.
KOKKOS_INLINE_FUNCTION double cubic_weights(double x, double (&weight)[4]) {
  const double below = round_nearest(x) > x ? round_nearest(x) - 1.0 : round_nearest(x);
  const double t = x - below;
  weight[0] = -t * (t - 1.0) * (t - 2.0) / 6.0;
  weight[1] = (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0;
  weight[2] = -(t + 1.0) * t * (t - 2.0) / 2.0;
  weight[3] = (t + 1.0) * t * (t - 1.0) / 6.0;
  return below - 1.0;
}

}  // namespace xfelflow::forward
