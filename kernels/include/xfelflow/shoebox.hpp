// Pixels about Bragg spots and their derivatives; xfel_apps/compute/shoebox.py is the definition.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdint>
#include <cstring>
#include <xfelflow/arrays.hpp>
#include <xfelflow/vector_math.hpp>

namespace xfelflow::shoebox {

/// A processor takes blocks of pixels that vectorise, a GPU one pixel after the other, a box a thread.
constexpr bool on_host = Kokkos::SpaceAccessibility<Kokkos::HostSpace, Space::memory_space>::accessible;
constexpr int block_size = on_host ? 256 : 1;

/// Derivatives of a pixel, in the order of xfel_apps.compute.shoebox.Basis.
enum : int { amplitude = 0, centre = 1, spread = 4, shift = 10, wavelength = 13, background = 14, n_basis = 17 };
constexpr int n_spot = 13;  ///< numbers that describe a spot: centre 3, precision 6, amplitude, background 3

/// The expected photons of a pixel have at least this variance, readout noise apart.
constexpr double least_variance = 0.1;

struct Boxes {
  Array<const double* [3]> origin_mm;   ///< outer corner of the first pixel
  Array<const double* [3][2]> axis_mm;  ///< one pixel along fast and slow
  Array<const long* [2]> size;          ///< pixels along fast and slow
  Array<const long*> first;             ///< flat index of the first pixel among all
  Array<const double* [n_spot]> spot;
};

struct Beam {
  double wavelength_ang;
  double direction[3], polarization_normal[3];
  double polarization_fraction;
};

/// Photons of a block of pixels, and the columns that are asked for.
template <int n_columns>
struct Columns {
  double photons[block_size];
  double column[n_columns][block_size];
};

template <bool derivatives>
struct Model {
  static constexpr int n_columns = derivatives ? n_basis : 1;
  using Block = Columns<n_columns>;

  Boxes boxes;
  Beam beam;
  int oversample;

  KOKKOS_INLINE_FUNCTION long pixels(int box) const { return boxes.size(box, 0) * boxes.size(box, 1); }

  /// Fill the block of `count` pixels of a box from its pixel `start` on.
  KOKKOS_INLINE_FUNCTION void fill(int box, long start, int count, Block& block) const {
    for (int c = 0; c < n_columns; ++c)
      for (int i = 0; i < count; ++i) block.column[c][i] = 0.0;
    for (int step = 0; step < oversample * oversample; ++step) add(box, start, count, step, block);
    const double width = static_cast<double>(boxes.size(box, 0));
    const double middle_f = 0.5 * (width - 1.0), middle_s = 0.5 * (static_cast<double>(boxes.size(box, 1)) - 1.0);
    const double level = boxes.spot(box, 10), slope_f = boxes.spot(box, 11), slope_s = boxes.spot(box, 12);
    const double first = static_cast<double>(start);
    XFELFLOW_SIMD()
    for (int i = 0; i < count; ++i) {
      const double flat = first + i, row = round_nearest((flat + 0.5) / width - 0.5);
      const double f = flat - row * width - middle_f, s = row - middle_s;
      block.photons[i] = block.column[amplitude][i] + level + f * slope_f + s * slope_s;
      if constexpr (derivatives) {
        block.column[background][i] = 1.0;
        block.column[background + 1][i] = f;
        block.column[background + 2][i] = s;
      }
    }
  }

  /// Add one sub-pixel of each pixel.
  KOKKOS_INLINE_FUNCTION void add(int box, long start, int count, int step, Block& block) const {
    const double width = static_cast<double>(boxes.size(box, 0)), first = static_cast<double>(start);
    const double ox = boxes.origin_mm(box, 0), oy = boxes.origin_mm(box, 1), oz = boxes.origin_mm(box, 2);
    const double fx = boxes.axis_mm(box, 0, 0), fy = boxes.axis_mm(box, 1, 0), fz = boxes.axis_mm(box, 2, 0);
    const double sx = boxes.axis_mm(box, 0, 1), sy = boxes.axis_mm(box, 1, 1), sz = boxes.axis_mm(box, 2, 1);
    const double ax = fy * sz - fz * sy, ay = fz * sx - fx * sz, az = fx * sy - fy * sx;  // a pixel's area
    const double kx = beam.direction[0], ky = beam.direction[1], kz = beam.direction[2];
    const double nx = beam.polarization_normal[0], ny = beam.polarization_normal[1], nz = beam.polarization_normal[2];
    const double p = beam.polarization_fraction, per_wavelength = 1.0 / beam.wavelength_ang;
    const double cx = boxes.spot(box, 0), cy = boxes.spot(box, 1), cz = boxes.spot(box, 2);
    const double pxx = boxes.spot(box, 3), pyy = boxes.spot(box, 4), pzz = boxes.spot(box, 5);
    const double pyz = boxes.spot(box, 6), pxz = boxes.spot(box, 7), pxy = boxes.spot(box, 8);
    const double bright = boxes.spot(box, 9) / (oversample * oversample);
    const double f_in = (step / oversample + 0.5) / oversample, s_in = (step % oversample + 0.5) / oversample;
    XFELFLOW_SIMD()
    for (int i = 0; i < count; ++i) {
      const double flat = first + i, row = round_nearest((flat + 0.5) / width - 0.5);
      const double f = flat - row * width + f_in, s = row + s_in;
      const double x = ox + f * fx + s * sx, y = oy + f * fy + s * sy, z = oz + f * fz + s * sz;
      const double inverse = 1.0 / sqrt(x * x + y * y + z * z);
      const double ux = x * inverse, uy = y * inverse, uz = z * inverse;
      const double normal = ux * nx + uy * ny + uz * nz, forward = ux * kx + uy * ky + uz * kz;
      const double polarization = (1.0 - 2.0 * p) * (1.0 - normal * normal) + p * (1.0 + forward * forward);
      const double facing = ux * ax + uy * ay + uz * az;
      const double share = polarization * (facing < 0.0 ? -facing : facing) * inverse * inverse;
      const double qx = (ux - kx) * per_wavelength, qy = (uy - ky) * per_wavelength, qz = (uz - kz) * per_wavelength;
      const double dx = qx - cx, dy = qy - cy, dz = qz - cz;
      const double gx = pxx * dx + pxy * dy + pxz * dz, gy = pxy * dx + pyy * dy + pyz * dz,
                   gz = pxz * dx + pyz * dy + pzz * dz;
      const double m = bright * share * exp_negative(-0.5 * (gx * dx + gy * dy + gz * dz));
      block.column[amplitude][i] += m;
      if constexpr (derivatives) {
        block.column[centre][i] += m * gx;
        block.column[centre + 1][i] += m * gy;
        block.column[centre + 2][i] += m * gz;
        block.column[spread][i] += 0.5 * m * gx * gx;
        block.column[spread + 1][i] += 0.5 * m * gy * gy;
        block.column[spread + 2][i] += 0.5 * m * gz * gz;
        block.column[spread + 3][i] += m * gy * gz;
        block.column[spread + 4][i] += m * gx * gz;
        block.column[spread + 5][i] += m * gx * gy;
        // what a change of the unit vector u does, then of the position: d u = (1 - u u) d x / |x|
        const double by_normal = -2.0 * (1.0 - 2.0 * p) * normal / polarization, by_k = 2.0 * p * forward / polarization;
        const double vx = by_normal * nx + by_k * kx - gx * per_wavelength,
                     vy = by_normal * ny + by_k * ky - gy * per_wavelength,
                     vz = by_normal * nz + by_k * kz - gz * per_wavelength;
        const double along = vx * ux + vy * uy + vz * uz + 3.0, turned = m * inverse, tilt = turned / facing;
        block.column[shift][i] += turned * (vx - along * ux) + tilt * ax;
        block.column[shift + 1][i] += turned * (vy - along * uy) + tilt * ay;
        block.column[shift + 2][i] += turned * (vz - along * uz) + tilt * az;
        block.column[wavelength][i] += m * (gx * qx + gy * qy + gz * qz);
      }
    }
  }
};

/// Photons of every pixel.
struct Photons {
  Model<false> model;
  Array<double*> photons;

  KOKKOS_INLINE_FUNCTION void operator()(const int box) const {
    Model<false>::Block block;
    const long n = model.pixels(box), first = model.boxes.first(box);
    for (long start = 0; start < n; start += block_size) {
      const int count = static_cast<int>(n - start < block_size ? n - start : block_size);
      model.fill(box, start, count, block);
      for (int i = 0; i < count; ++i) photons(first + start + i) = block.photons[i];
    }
  }
};

/// Photons of every pixel and their derivatives.
struct Derivatives {
  Model<true> model;
  Array<double*> photons;
  Array<double**> columns;  ///< (n_basis, n_pixels)

  KOKKOS_INLINE_FUNCTION void operator()(const int box) const {
    Model<true>::Block block;
    const long n = model.pixels(box), first = model.boxes.first(box);
    for (long start = 0; start < n; start += block_size) {
      const int count = static_cast<int>(n - start < block_size ? n - start : block_size);
      model.fill(box, start, count, block);
      for (int i = 0; i < count; ++i) photons(first + start + i) = block.photons[i];
      for (int c = 0; c < n_basis; ++c)
        for (int i = 0; i < count; ++i) columns(c, first + start + i) = block.column[c][i];
    }
  }
};

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
    double slope[block_size], weight[block_size], variance[block_size];
  };

  KOKKOS_INLINE_FUNCTION void operator()(const int box) const {
    Model<true>::Block block;
    Weights weights;
    double total = 0.0;
    for (int a = 0; a < n_basis; ++a) {
      gradient(box, a) = 0.0;
      for (int b = 0; b < n_basis; ++b) curvature(box, a, b) = 0.0;
    }
    const long n = model.pixels(box), first = model.boxes.first(box);
    for (long start = 0; start < n; start += block_size) {
      const int count = static_cast<int>(n - start < block_size ? n - start : block_size);
      model.fill(box, start, count, block);
      total += weigh(first + start, count, block, weights);
      gather(box, count, block, weights);
    }
    misfit(box) = total;
    for (int a = 0; a < n_basis; ++a)
      for (int b = 0; b < a; ++b) curvature(box, a, b) = curvature(box, b, a);
  }

  /// Return minus the log likelihood of a block's pixels.
  KOKKOS_INLINE_FUNCTION double weigh(long first, int count, const Model<true>::Block& block, Weights& out) const {
    const float *data = observed.data() + first, *beside = noise.data() + first;
    double squares = 0.0;
    XFELFLOW_SIMD(reduction(+ : squares))
    for (int i = 0; i < count; ++i) {
      const double mean = block.photons[i], seen = data[i];
      const bool used = seen == seen, varies = mean > least_variance;
      const double variance = (varies ? mean : least_variance) + beside[i], inverse = 1.0 / variance;
      const double residual = (used ? seen : mean) - mean, z2 = residual * residual * inverse;
      const double half = varies ? 0.5 * inverse : 0.0;
      squares += used ? z2 : 0.0;
      out.slope[i] = used ? half * (1.0 - z2) - residual * inverse : 0.0;
      out.weight[i] = used ? inverse * (1.0 + half) : 0.0;
      out.variance[i] = used ? variance : 1.0;
    }
    return 0.5 * (squares + log_of_product(out.variance, count));
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
