// Pixels about Bragg spots and their derivatives; xfel_apps/compute/shoebox.py is the definition.
#pragma once

#include <Kokkos_Core.hpp>
#include <xfelflow/arrays.hpp>
#include <xfelflow/vector_math.hpp>

namespace xfelflow::shoebox {

/// A processor takes blocks of pixels that vectorise, a GPU one pixel after the other, a box a thread.
constexpr bool on_host = Kokkos::SpaceAccessibility<Kokkos::HostSpace, Space::memory_space>::accessible;
constexpr int block_size = on_host ? 256 : 1;

/// Derivatives of a pixel, in the order of xfel_apps.compute.shoebox.Basis.
enum : int { amplitude = 0, centre = 1, spread = 4, shift = 10, wavelength = 13, background = 14, n_basis = 17 };
constexpr int n_spot = 13;  ///< numbers that describe a spot: centre 3, precision 6, amplitude, background 3

struct Boxes {
  Array<const double* [3]> origin_mm;   ///< outer corner of the first pixel
  Array<const double* [3][2]> axis_mm;  ///< one pixel along fast and slow
  Array<const long* [2]> size;          ///< pixels along fast and slow
  Array<const long*> first;             ///< flat index of the first pixel among all
  Array<const double* [n_spot]> spot;
};

/// Places of a block of pixels of a box, in pixels from its first.
struct Places {
  double fast[block_size], slow[block_size];

  /// Those of `count` pixels of a box `width` wide, from its pixel `start` on.
  KOKKOS_INLINE_FUNCTION void fill(long start, int count, double width) {
    const double first = static_cast<double>(start);
    XFELFLOW_SIMD()
    for (int i = 0; i < count; ++i) {
      const double flat = first + i, row = round_nearest((flat + 0.5) / width - 0.5);
      fast[i] = flat - row * width;
      slow[i] = row;
    }
  }
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

  /// Fill the block of `count` pixels of a box.
  KOKKOS_INLINE_FUNCTION void fill(int box, const Places& places, int count, Block& block) const {
    for (int c = 0; c < n_columns; ++c)
      for (int i = 0; i < count; ++i) block.column[c][i] = 0.0;
    for (int step = 0; step < oversample * oversample; ++step) add(box, places, count, step, block);
    const double middle_f = 0.5 * static_cast<double>(boxes.size(box, 0) - 1);
    const double middle_s = 0.5 * static_cast<double>(boxes.size(box, 1) - 1);
    const double level = boxes.spot(box, 10), slope_f = boxes.spot(box, 11), slope_s = boxes.spot(box, 12);
    XFELFLOW_SIMD()
    for (int i = 0; i < count; ++i) {
      const double f = places.fast[i] - middle_f, s = places.slow[i] - middle_s;
      block.photons[i] = block.column[amplitude][i] + level + f * slope_f + s * slope_s;
      if constexpr (derivatives) {
        block.column[background][i] = 1.0;
        block.column[background + 1][i] = f;
        block.column[background + 2][i] = s;
      }
    }
  }

  /// Add one sub-pixel of each pixel.
  KOKKOS_INLINE_FUNCTION void add(int box, const Places& places, int count, int step, Block& block) const {
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
      const double f = places.fast[i] + f_in, s = places.slow[i] + s_in;
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
    Places places;
    const long n = model.pixels(box), first = model.boxes.first(box);
    for (long start = 0; start < n; start += block_size) {
      const int count = static_cast<int>(n - start < block_size ? n - start : block_size);
      places.fill(start, count, static_cast<double>(model.boxes.size(box, 0)));
      model.fill(box, places, count, block);
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
    Places places;
    const long n = model.pixels(box), first = model.boxes.first(box);
    for (long start = 0; start < n; start += block_size) {
      const int count = static_cast<int>(n - start < block_size ? n - start : block_size);
      places.fill(start, count, static_cast<double>(model.boxes.size(box, 0)));
      model.fill(box, places, count, block);
      for (int i = 0; i < count; ++i) photons(first + start + i) = block.photons[i];
      for (int c = 0; c < n_basis; ++c)
        for (int i = 0; i < count; ++i) columns(c, first + start + i) = block.column[c][i];
    }
  }
};

}  // namespace xfelflow::shoebox
