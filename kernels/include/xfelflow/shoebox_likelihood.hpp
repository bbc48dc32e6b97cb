// Minus the log likelihood of the pixels of boxes; xfel_apps/compute/shoebox.py is the definition.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <xfelflow/shoebox.hpp>
#include <xfelflow/shoebox_reach.hpp>

namespace xfelflow::shoebox {

/// The expected photons of a pixel have at least this variance, readout noise apart.
constexpr double least_variance = 0.1;

/// What stands for a pixel that is not used.
constexpr double not_used = std::numeric_limits<double>::quiet_NaN();

/// Logarithm of the product of positive numbers, without a logarithm for each.
KOKKOS_INLINE_FUNCTION double log_of_product(const double* values, int count) {
  constexpr double ln2 = 0.6931471805599453;
  double mantissas = 1.0;  // of each at most 2: block_size = 256 of them do not overflow
  long exponents = 0;
  XFELFLOW_SIMD(reduction(* : mantissas) reduction(+ : exponents))
  for (int i = 0; i < count; ++i) {
    std::uint64_t bits;
    std::memcpy(&bits, &values[i], sizeof bits);
    exponents += static_cast<long>(bits >> 52) - 1023;
    bits = (bits & 0x000FFFFFFFFFFFFFull) | 0x3FF0000000000000ull;
    double mantissa;
    std::memcpy(&mantissa, &bits, sizeof mantissa);
    mantissas *= mantissa;
  }
  return static_cast<double>(exponents) * ln2 + math::log(mantissas);
}

/// Minus the log likelihood of each box, its gradient and its expected curvature.
struct Likelihood {
  Model<true> model;
  Array<const float*> observed;   ///< photons, NaN where a pixel is not used
  Array<const float*> noise;      ///< variance besides that of counting
  Array<double*> misfit;
  Array<double* [n_basis]> gradient;
  Array<double* [n_basis][n_basis]> curvature;

  /// What the pixels of a block weigh.
  struct Weights {
    double observed[block_size], noise[block_size], slope[block_size], weight[block_size], variance[block_size];
  };

  KOKKOS_INLINE_FUNCTION void operator()(const int box) const {
    for (int a = 0; a < n_basis; ++a) {
      gradient(box, a) = 0.0;
      for (int b = 0; b < n_basis; ++b) curvature(box, a, b) = 0.0;
    }
    const Reach reach(model.boxes, model.beam, box);
    double total = 0.0;
    const long n = model.pixels(box);
    for (long start = 0; start < n; start += block_size) {
      const int count = static_cast<int>(n - start < block_size ? n - start : block_size);
      total += of_block(box, start, count, reach);
    }
    misfit(box) = total;
    for (int a = 0; a < n_basis; ++a)
      for (int b = 0; b < a; ++b) curvature(box, a, b) = curvature(box, b, a);
  }

  /// Add `count` pixels of a box from its pixel `start` on; return minus their log likelihood.
  KOKKOS_INLINE_FUNCTION double of_block(int box, long start, int count, const Reach& reach) const {
    const long first = model.boxes.first(box) + start;
    const float *data = observed.data() + first, *beside = noise.data() + first;
    Places places, with_spot;
    Weights background, spot;
    double level[block_size];
    bool has_spot[block_size];
    places.fill(start, count, static_cast<double>(model.boxes.size(box, 0)));
    XFELFLOW_SIMD()
    for (int i = 0; i < count; ++i) {
      has_spot[i] = reach.holds(places.fast[i], places.slow[i]);
      background.observed[i] = has_spot[i] ? not_used : static_cast<double>(data[i]);
      background.noise[i] = beside[i];
    }
    int n = 0;
    for (int i = 0; i < count; ++i) {
      with_spot.fast[n] = places.fast[i];
      with_spot.slow[n] = places.slow[i];
      spot.observed[n] = data[i];
      spot.noise[n] = beside[i];
      n += has_spot[i];
    }
    plane(box, count, places, level);
    const double misfit_here = weigh(count, level, background);
    gather_plane(box, count, places, background);
    if (n == 0) return misfit_here;
    Model<true>::Block block;
    model.fill(box, with_spot, n, block);
    const double misfit_there = weigh(n, block.photons, spot);
    gather(box, n, block, spot);
    return misfit_here + misfit_there;
  }

  /// Turn places into those from the box's centre, and return the background there.
  KOKKOS_INLINE_FUNCTION void plane(int box, int count, Places& places, double* level) const {
    const double middle_f = 0.5 * static_cast<double>(model.boxes.size(box, 0) - 1);
    const double middle_s = 0.5 * static_cast<double>(model.boxes.size(box, 1) - 1);
    const double height = model.boxes.spot(box, 10), slope_f = model.boxes.spot(box, 11), slope_s = model.boxes.spot(box, 12);
    XFELFLOW_SIMD()
    for (int i = 0; i < count; ++i) {
      places.fast[i] -= middle_f;
      places.slow[i] -= middle_s;
      level[i] = height + places.fast[i] * slope_f + places.slow[i] * slope_s;
    }
  }

  /// Return minus the log likelihood of a block's pixels, and what they weigh.
  KOKKOS_INLINE_FUNCTION double weigh(int count, const double* photons, Weights& out) const {
    double squares = 0.0;
    XFELFLOW_SIMD(reduction(+ : squares))
    for (int i = 0; i < count; ++i) {
      const double mean = photons[i], seen = out.observed[i];
      const bool used = seen == seen, varies = mean > least_variance;
      const double variance = (varies ? mean : least_variance) + out.noise[i], inverse = 1.0 / variance;
      const double residual = (used ? seen : mean) - mean, z2 = residual * residual * inverse;
      const double half = varies ? 0.5 * inverse : 0.0;
      squares += used ? z2 : 0.0;
      out.slope[i] = used ? half * (1.0 - z2) - residual * inverse : 0.0;
      out.weight[i] = used ? inverse * (1.0 + half) : 0.0;
      out.variance[i] = used ? variance : 1.0;
    }
    return 0.5 * (squares + log_of_product(out.variance, count));
  }

  /// Add what pixels, their places from the box's centre, tell of its background.
  KOKKOS_INLINE_FUNCTION void gather_plane(int box, int count, const Places& places, const Weights& weights) const {
    double s1 = 0.0, s2 = 0.0, s3 = 0.0, c11 = 0.0, c12 = 0.0, c13 = 0.0, c22 = 0.0, c23 = 0.0, c33 = 0.0;
    XFELFLOW_SIMD(reduction(+ : s1, s2, s3, c11, c12, c13, c22, c23, c33))
    for (int i = 0; i < count; ++i) {
      const double f = places.fast[i], s = places.slow[i], slope = weights.slope[i], weight = weights.weight[i];
      s1 += slope;
      s2 += slope * f;
      s3 += slope * s;
      c11 += weight;
      c12 += weight * f;
      c13 += weight * s;
      c22 += weight * f * f;
      c23 += weight * f * s;
      c33 += weight * s * s;
    }
    gradient(box, background) += s1;
    gradient(box, background + 1) += s2;
    gradient(box, background + 2) += s3;
    curvature(box, background, background) += c11;
    curvature(box, background, background + 1) += c12;
    curvature(box, background, background + 2) += c13;
    curvature(box, background + 1, background + 1) += c22;
    curvature(box, background + 1, background + 2) += c23;
    curvature(box, background + 2, background + 2) += c33;
  }

  KOKKOS_INLINE_FUNCTION void gather(int box, int count, const Model<true>::Block& block, const Weights& weights) const {
    for (int a = 0; a < n_basis; ++a) {
      double weighted[block_size], slope = 0.0;
      const double* left = block.column[a];
      XFELFLOW_SIMD(reduction(+ : slope))
      for (int i = 0; i < count; ++i) {
        weighted[i] = left[i] * weights.weight[i];
        slope += left[i] * weights.slope[i];
      }
      gradient(box, a) += slope;
      for (int b = a; b < n_basis; b += 4) multiply_four(box, a, b, count, block, weighted);
    }
  }

  /// Add the products of a weighted column with four others, or as many as are left: read once, used four times.
  KOKKOS_INLINE_FUNCTION void multiply_four(int box, int a, int b, int count, const Model<true>::Block& block,
                                            const double* weighted) const {
    const int last = n_basis - 1, left = n_basis - b;
    const double *r0 = block.column[b], *r1 = block.column[b + 1 < last ? b + 1 : last],
                 *r2 = block.column[b + 2 < last ? b + 2 : last], *r3 = block.column[b + 3 < last ? b + 3 : last];
    double s0 = 0.0, s1 = 0.0, s2 = 0.0, s3 = 0.0;
    XFELFLOW_SIMD(reduction(+ : s0, s1, s2, s3))
    for (int i = 0; i < count; ++i) {
      const double w = weighted[i];
      s0 += w * r0[i];
      s1 += w * r1[i];
      s2 += w * r2[i];
      s3 += w * r3[i];
    }
    curvature(box, a, b) += s0;
    if (left > 1) curvature(box, a, b + 1) += s1;
    if (left > 2) curvature(box, a, b + 2) += s2;
    if (left > 3) curvature(box, a, b + 3) += s3;
  }
};

}  // namespace xfelflow::shoebox
