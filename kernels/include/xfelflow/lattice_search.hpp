// Scores of trial lattices against spots; xfel_apps/compute/lattice_search.py defines them.
#pragma once

#include <Kokkos_Core.hpp>
#include <xfelflow/arrays.hpp>
#include <xfelflow/vector_math.hpp>

namespace xfelflow::lattice_search {

constexpr int lanes = 256;  ///< trials scored together: the inner loop, which vectorises

/// 1.5 * 2^23: adding it leaves the nearest integer of |x| < 2^22 in the low bits.
constexpr float rounding_magic_f = 12582912.0F;

KOKKOS_INLINE_FUNCTION float from_nearest(float x) { return x - ((x + rounding_magic_f) - rounding_magic_f); }

/// Trials of a block that begins at `first` of n.
KOKKOS_INLINE_FUNCTION int lanes_left(int n, int first) { return n - first < lanes ? n - first : lanes; }

/// Spots of one shot, one row a spot.
struct Spots {
  Array<const float* [3]> q;      ///< scattering vector [1/Angstrom]
  Array<const float*> reach;      ///< distance from a lattice plane or point at which the score is zero [1/Angstrom]
  Array<const float*> weight;     ///< score of a spot that fits perfectly
};

/// Score of real-space vectors t: sum of w (1 - (frac(t.q) / (r |t|))^2), where positive.
struct Vectors {
  Array<const float**> t;  ///< (3, n) trial vectors [Angstrom]
  Spots spots;
  Array<float*> score;

  KOKKOS_INLINE_FUNCTION void operator()(int block) const {
    const int n = static_cast<int>(score.extent(0)), first = block * lanes, count = lanes_left(n, first);
    const float* const x = &t(0, first);
    const float* const y = &t(1, first);
    const float* const z = &t(2, first);
    float sum[lanes] = {}, per_square[lanes];
    XFELFLOW_SIMD()
    for (int i = 0; i < count; ++i) per_square[i] = 1.0F / (x[i] * x[i] + y[i] * y[i] + z[i] * z[i]);
    for (std::size_t s = 0; s < spots.q.extent(0); ++s) {
      const float qx = spots.q(s, 0), qy = spots.q(s, 1), qz = spots.q(s, 2);
      const float w = spots.weight(s), steep = 1.0F / (spots.reach(s) * spots.reach(s));
      XFELFLOW_SIMD()
      for (int i = 0; i < count; ++i) {
        const float off = from_nearest(x[i] * qx + y[i] * qy + z[i] * qz);
        const float fit = 1.0F - off * off * per_square[i] * steep;
        sum[i] += w * (fit > 0.0F ? fit : 0.0F);
      }
    }
    for (int i = 0; i < count; ++i) score(first + i) = sum[i];
  }
};

/// Score of a lattice turned about an axis: h = u + v cos(angle) + w sin(angle) for each spot.
struct Rotations {
  Array<const float* [3][3]> coefficients;  ///< A^-1 of each axis = c0 + c1 cos + c2 sin; rows (axis * 3 + term)
  Array<const float**> turns;               ///< (2, n_angles) cosine and sine
  float metric[6];                          ///< G* as 11, 22, 33, 2 x 23, 2 x 13, 2 x 12 [1/Angstrom^2]
  Spots spots;
  Array<float**> score;  ///< (n_axes, n_angles)

  KOKKOS_INLINE_FUNCTION void operator()(int block) const {
    const int n = static_cast<int>(score.extent(1)), blocks = (n + lanes - 1) / lanes;
    const int axis = block / blocks, first = block % blocks * lanes, count = lanes_left(n, first);
    const float* const cosine = &turns(0, first);
    const float* const sine = &turns(1, first);
    const float g0 = metric[0], g1 = metric[1], g2 = metric[2], g3 = metric[3], g4 = metric[4], g5 = metric[5];
    float sum[lanes] = {};
    for (std::size_t s = 0; s < spots.q.extent(0); ++s) {
      float h[3][3];  // term, index
      for (int term = 0; term < 3; ++term)
        for (int row = 0; row < 3; ++row) {
          h[term][row] = 0.0F;
          for (int k = 0; k < 3; ++k) h[term][row] += coefficients(axis * 3 + term, row, k) * spots.q(s, k);
        }
      const float w = spots.weight(s), steep = 1.0F / (spots.reach(s) * spots.reach(s));
      XFELFLOW_SIMD()
      for (int i = 0; i < count; ++i) {
        const float a = from_nearest(h[0][0] + h[1][0] * cosine[i] + h[2][0] * sine[i]);
        const float b = from_nearest(h[0][1] + h[1][1] * cosine[i] + h[2][1] * sine[i]);
        const float c = from_nearest(h[0][2] + h[1][2] * cosine[i] + h[2][2] * sine[i]);
        const float square = a * (g0 * a + g5 * b + g4 * c) + b * (g1 * b + g3 * c) + g2 * c * c;
        const float fit = 1.0F - square * steep;
        sum[i] += w * (fit > 0.0F ? fit : 0.0F);
      }
    }
    for (int i = 0; i < count; ++i) score(axis, first + i) = sum[i];
  }
};

}  // namespace xfelflow::lattice_search
